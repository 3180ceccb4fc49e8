"""What every fake service stands on: a socket in a thread, HTTP/1.1, faults, and who meets them."""
