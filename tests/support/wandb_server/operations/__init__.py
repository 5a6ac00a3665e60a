"""The GraphQL operations, one module a topic."""
