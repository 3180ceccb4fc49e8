"""LLM work that can wait: a table, a prompt and a deadline in; every row back, validated."""
