"""The operations on sessions, a module each; :mod:`sessionstore.operations` hands over to them."""
