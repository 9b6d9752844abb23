"""Small changes of the source, each tried against the tests of the part that it is in."""
