//go:build race

package unix

// raceDetector: its shadow memory is not what a bound of memory is about.
const raceDetector = true
