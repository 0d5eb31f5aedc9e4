package testserver

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"

	"ferry/wire"
)

// dial resolves and connects a target. The dialer races IPv6 and IPv4 (RFC 8305).
func (s *Server) dial(target wire.Target) (*net.TCPConn, *wire.RefusedError) {
	ctx, cancel := context.WithTimeout(context.Background(), s.config.DialTimeout)
	defer cancel()
	dialer := net.Dialer{Control: s.policy, Resolver: s.config.Resolver}
	conn, err := dialer.DialContext(ctx, "tcp", target.String())
	if err != nil {
		code, detail := refusal(err)
		return nil, &wire.RefusedError{Code: code, Detail: detail, Err: err}
	}
	return conn.(*net.TCPConn), nil
}

// refusal says what a failed dial means for the client. The detail names no
// address: where a name leads is the endpoint's affair.
func refusal(err error) (code wire.RefusalCode, detail string) {
	var dns *net.DNSError
	timeout := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case errors.As(err, &dns) && (dns.IsTimeout || timeout):
		return wire.DNSTimeout, "the name could not be resolved in time"
	case dns != nil && dns.IsNotFound:
		return wire.DNSError, "no such name"
	case dns != nil:
		return wire.DNSError, "the name could not be resolved"
	case prohibited(err):
		return wire.DestinationIPProhibited, "private, loopback, link-local and metadata addresses are not allowed"
	case errors.Is(err, syscall.ECONNREFUSED):
		return wire.ConnectionRefused, "nothing listens on that port"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return wire.DestinationIPUnroutable, "there is no route to the address"
	case timeout, errors.Is(err, syscall.ETIMEDOUT):
		return wire.ConnectionTimeout, "the target did not answer in time"
	case errors.Is(err, syscall.ECONNRESET):
		return wire.ConnectionTerminated, "the target reset the connection"
	}
	return wire.ProxyInternalError, "the endpoint could not dial the target"
}
