package client

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"ferry/wire"
)

// parseTarget parses the request target of a CONNECT, which is a host and a port
// and nothing else (RFC 9110, section 9.3.6).
func parseTarget(s string) (wire.Target, error) {
	if strings.ContainsAny(s, "@/?#\\ \t") {
		return wire.Target{}, errors.New("it must be host:port, without a user, a path or a query")
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil || host == "" {
		return wire.Target{}, errors.New("it must be host:port, with brackets around an IPv6 address")
	}
	number, err := parsePort(port)
	if err != nil {
		return wire.Target{}, err
	}
	if err := checkHost(host, strings.HasPrefix(s, "[")); err != nil {
		return wire.Target{}, err
	}
	return wire.Target{Host: host, Port: number}, nil
}

func parsePort(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil || n == 0 || s[0] == '0' || s[0] == '+' {
		return 0, errors.New("its port must be a number from 1 to 65535")
	}
	return uint16(n), nil
}

func checkHost(host string, bracketed bool) error {
	if bracketed {
		address, err := netip.ParseAddr(host)
		switch {
		case err != nil || !address.Is6():
			return errors.New("what stands in brackets must be an IPv6 address")
		case address.Zone() != "":
			return errors.New("an address with a zone means nothing at the other end")
		}
		return nil
	}
	if len(host) > 255 {
		return errors.New("its host is longer than the 255 bytes that DNS allows")
	}
	for i := range len(host) {
		if c := host[i]; c <= ' ' || c >= 0x7f || strings.IndexByte("%\"<>[]^`{|}:", c) >= 0 {
			return errors.New("its host has a character that no name has; write a name beyond ASCII as xn--…")
		}
	}
	return nil
}
