package wire

import (
	"fmt"
	"net"
	"strconv"

	relayv1 "ferry/proto/relay/v1"
)

// maxHost is the longest name DNS allows (RFC 1035, section 2.3.4).
const maxHost = 255

// Target is what a tunnel leads to. Host is a DNS name, or an IP address without
// brackets; Port is not 0.
type Target struct {
	Host string
	Port uint16
}

// String returns host:port, with brackets around an IPv6 address.
func (t Target) String() string {
	return net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port)))
}

// Network returns "tcp"; with String it makes a Target a [net.Addr].
func (t Target) Network() string { return "tcp" }

// targetOf checks what came over the wire.
func targetOf(c *relayv1.Connect) (Target, error) {
	switch {
	case c.GetHost() == "" || len(c.GetHost()) > maxHost:
		return Target{}, fmt.Errorf("a host of %d bytes; it must have 1 to %d", len(c.GetHost()), maxHost)
	case c.GetPort() == 0 || c.GetPort() > 65535:
		return Target{}, fmt.Errorf("port %d; it must be 1 to 65535", c.GetPort())
	}
	return Target{Host: c.GetHost(), Port: uint16(c.GetPort())}, nil
}

// localAddr is the near end of a tunnel, which has no address of its own.
type localAddr struct{}

func (localAddr) Network() string { return "ferry" }
func (localAddr) String() string  { return "ferry" }
