"""One subject a file, as in the README's table. A handler is one call of SQL."""
