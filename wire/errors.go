package wire

import (
	"errors"
	"fmt"
)

// ErrWriteClosed is returned by Write after CloseWrite.
var ErrWriteClosed = errors.New("wire: write on a tunnel after CloseWrite")

// RefusedError is the far end's answer that it could not, or would not, connect
// to the target.
type RefusedError struct {
	Code   RefusalCode
	Detail string // one line for a person
	Err    error  // the cause, at the end that refuses; it never crosses the wire
}

// Error returns the code and the detail.
func (e *RefusedError) Error() string { return withDetail("refused: "+e.Code.String(), e.Detail) }

// Unwrap returns the cause.
func (e *RefusedError) Unwrap() error { return e.Err }

// AbortError says that a tunnel was given up before both directions had ended.
// Every call after it returns the same error.
type AbortError struct {
	Code   AbortCode
	Detail string // one line for a person
	Remote bool   // the far end said so; otherwise this end noticed or decided
	Err    error  // what the stream below reported, if that was the cause
}

// Error says who gave the tunnel up, and why.
func (e *AbortError) Error() string {
	side := "here"
	if e.Remote {
		side = "by the far end"
	}
	s := withDetail(fmt.Sprintf("tunnel aborted %s: %s", side, e.Code), e.Detail)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *AbortError) Unwrap() error { return e.Err }

// protocolError is what a decoder finds wrong with its input.
type protocolError string

func (e protocolError) Error() string { return "wire: protocol error: " + string(e) }

func withDetail(s, detail string) string {
	if detail == "" {
		return s
	}
	return s + " (" + detail + ")"
}
