"""What good means: cases, bars and the tests over them."""
