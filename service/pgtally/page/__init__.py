"""What people look at in a browser, rendered here: no script, nothing from elsewhere.

Templates escape everything that they are given: names of types and properties are hostile text.
"""
