"""What a column means, and the grain, key and columns of every table."""
