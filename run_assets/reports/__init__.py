"""What a reader gets to see: HTML, Markdown and JSON from the same content."""
