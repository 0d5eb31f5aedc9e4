package wire

import (
	"io"
	"time"
)

// Stream is what a tunnel runs on: an ordered, reliable byte stream in both
// directions, with flow control of its own.
//
// Read returns io.EOF once the far end has closed the stream, and any other
// error if the stream was lost. The deadlines only ever interrupt: a Conn sets
// one in the past to free a blocked call, and the zero time to take that back.
// The call then returns [os.ErrDeadlineExceeded] and how many bytes it moved; a
// call that need not block may succeed in spite of it. Close gives the stream up
// in both directions: it is called once nothing more is to be read or written.
//
// MaxWrite is how many bytes one Write should carry at most just now: everybody
// else on the session waits for them.
//
// Readable reports whether there is something to read (data, the end, or why the
// stream was lost), or is just about to be. If there is nothing, OnReadable has
// wake called once, when there is, and reports true; wake must not block. One that
// can't tell reports that it is readable, always.
type Stream interface {
	io.ReadWriteCloser
	MaxWrite() int
	Readable() bool
	OnReadable(wake func()) bool
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

// longAgo is a deadline that frees whoever is blocked.
var longAgo = time.Unix(1, 0)
