"""Events on their way into the database: rules, mapping of other formats, storing."""
