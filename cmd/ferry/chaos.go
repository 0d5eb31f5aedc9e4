package main

import (
	"net"

	"ferry/testserver"
)

// chaosFlag is a list of faults.
type chaosFlag struct{ faults testserver.Faults }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (c *chaosFlag) UnmarshalText(text []byte) (err error) {
	c.faults, err = testserver.ParseFaults(string(text))
	return err
}

func (c *chaosFlag) listener(l net.Listener) net.Listener {
	return testserver.Chaos(l, c.faults)
}
