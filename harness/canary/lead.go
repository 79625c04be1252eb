package canary

type leads struct{}
