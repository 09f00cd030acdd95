"""Update steps on parameters: SGD example by example, and Reptile."""
