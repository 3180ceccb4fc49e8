"""Pure: how requests, answers and errors look as bytes, in both directions."""
