"""The only writers to the outside."""
