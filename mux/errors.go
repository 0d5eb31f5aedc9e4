package mux

import (
	"errors"
	"fmt"
	"strings"
	"time"

	relayv1 "ferry/proto/relay/v1"
)

// ErrSilent says that the peer showed no sign of life in time.
var ErrSilent = errors.New("mux: nothing heard from the peer in time")

// ErrNotResumed says that a session's WebSocket was lost, and the session could
// not be taken up on another one in time, or not by this peer.
var ErrNotResumed = errors.New("mux: the session could not be resumed")

// errTakenOver is why a WebSocket is given up that still looked alive.
var errTakenOver = errors.New("mux: the peer has taken the session up on another WebSocket")

// errRetired says that this end has done with opening streams on a session.
var errRetired = errors.New("mux: no more streams are opened on this session")

// CloseCode says why a session ended.
type CloseCode int32

// The reasons of the protocol; link.proto explains each.
const (
	CloseUnspecified   = CloseCode(relayv1.Close_CODE_UNSPECIFIED)
	CloseDone          = CloseCode(relayv1.Close_CODE_DONE)
	CloseShutdown      = CloseCode(relayv1.Close_CODE_SHUTDOWN)
	CloseProtocolError = CloseCode(relayv1.Close_CODE_PROTOCOL_ERROR)
	CloseUnauthorized  = CloseCode(relayv1.Close_CODE_UNAUTHORIZED)
	CloseInternalError = CloseCode(relayv1.Close_CODE_INTERNAL_ERROR)
)

// closeCode reads a code from the wire.
func closeCode(c relayv1.Close_Code) CloseCode {
	if _, known := relayv1.Close_Code_name[int32(c)]; !known {
		return CloseUnspecified
	}
	return CloseCode(c)
}

// String returns the code in lower case, such as "shutdown".
func (c CloseCode) String() string {
	return strings.ToLower(strings.TrimPrefix(relayv1.Close_Code(c).String(), "CODE_"))
}

// ClosedError says that a session was ended on purpose, by either end.
type ClosedError struct {
	Code   CloseCode
	Detail string // one line for a person
	Remote bool   // the peer ended it
}

// Error says who ended the session, and why.
func (e *ClosedError) Error() string {
	side := "here"
	if e.Remote {
		side = "by the peer"
	}
	s := fmt.Sprintf("session closed %s: %s", side, e.Code)
	if e.Detail != "" {
		s += " (" + e.Detail + ")"
	}
	return s
}

// HandshakeError says that the endpoint answered the upgrade request, but not
// with a session.
type HandshakeError struct {
	Status     int           // the HTTP status of the answer; 101 if the upgrade itself was wrong
	RetryAfter time.Duration // from the Retry-After field; 0 without one
	Detail     string        // the first line of the answer's body, or what was wrong
}

// Error returns the status and the detail.
func (e *HandshakeError) Error() string {
	return fmt.Sprintf("the endpoint answered %d: %s", e.Status, e.Detail)
}

// protocolError is what is wrong with the peer's input.
type protocolError string

func (e protocolError) Error() string { return "mux: protocol error: " + string(e) }
