module hearth.dev/benchmarks/peers

go 1.26
