module example.org/greeter

go 1.19

require example.org/numbers v0.0.0

replace example.org/numbers => ./numbers
