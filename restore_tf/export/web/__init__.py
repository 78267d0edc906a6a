"""The page that restores pictures inside the browser: a static folder around TFLite files."""
