//go:build !race

package unix

const raceDetector = false
