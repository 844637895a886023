module example.org/tools

go 1.26

require (
	example.org/a v1.0.0 // indirect
	example.org/b v1.0.0
)

replace example.org/a => ../a

frobnicate x
