package emulator

// ReadAnswer reads one answer of the console.
var ReadAnswer = readAnswer
