"""Questions about runs, answered from what the lake or an export holds of them."""
