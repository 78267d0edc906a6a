"""A network applied to pictures of any size."""
