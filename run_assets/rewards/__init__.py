"""What rewards did in training: components, milestones, trends, shares of the total."""
