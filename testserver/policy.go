package testserver

import (
	"errors"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// wireServer is where Azure serves its metadata. Unlike the other clouds', it is
// a public address.
var wireServer = netip.MustParsePrefix("168.63.129.16/32")

// policy decides which addresses may be dialed. It is asked with the very
// address that is about to be connected, so a name can't change its mind between
// the question and the dial.
type policy func(network, address string, _ syscall.RawConn) error

func newPolicy(allowPrivate bool) policy {
	if allowPrivate {
		return nil
	}
	return ssrf.New(ssrf.WithAnyPort(), ssrf.WithDeniedV4Prefixes(wireServer)).Safe
}

// prohibited reports whether a failed dial was the policy's doing.
func prohibited(err error) bool { return errors.Is(err, ssrf.ErrProhibitedIP) }
