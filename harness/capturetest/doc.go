// Package capturetest observes simulated phones through every instrument and set
// of instruments, sound and sabotaged, and checks that what left is seen, that
// what cannot be seen is said, and that no leak comes out as "not collected".
//
// It is made of tests only; they leave out the race detector, under which the
// simulated phones are too slow to keep their windows. One observation is made for
// the detector alone.
package capturetest
