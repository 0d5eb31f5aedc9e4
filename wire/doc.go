// Package wire speaks the tunnel protocol: a stream as a sequence of protobuf
// chunks, and on top of it [Conn], a tunnel as a [net.Conn] that half-closes,
// carries resets across and never mistakes a cut stream for a finished one.
//
// The near end opens a tunnel on a stream and may write at once; the first
// bytes then share a flight with the Connect chunk:
//
//	conn, err := wire.Open(stream, wire.Target{Host: "example.com", Port: 443})
//	if err != nil {
//		return err
//	}
//	if err := conn.Handshake(ctx); err != nil {
//		return err // a *RefusedError says why
//	}
//
// The far end learns the target, dials it and joins the two:
//
//	conn, target, err := wire.Accept(ctx, stream)
//	…
//	conn.Confirm() // or conn.Refuse(wire.ConnectionRefused, "…")
//	joiner.Join(conn, tcp, func(out wire.Outcome) { … })
//
// The protocol itself is specified in proto/relay/v1/tunnel.proto. This
// package knows nothing of WebSockets, of yamux, or of how targets are dialed.
package wire
