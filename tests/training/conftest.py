"""Every training test may train the toys."""

from tiny_training import toys as toys
