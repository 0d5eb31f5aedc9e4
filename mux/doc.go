// Package mux carries many streams over one WebSocket.
//
// A [Link] turns WebSockets into one ordered byte stream: it numbers what it
// sends, keeps it until the peer has acknowledged it, gathers what is waiting
// into one message, and judges by end-to-end pings whether the peer is alive.
// A [Session] runs yamux on a Link. [Dial] and [Upgrade] make sessions:
//
//	session, err := mux.Dial(ctx, "wss://relay.example/v1/relay", mux.DialConfig{Token: token})
//	…
//	stream, err := session.Open()
//
// and, at the other end of it,
//
//	session, err := mux.Upgrade(w, r, mux.Config{})
//	…
//	stream, err := session.Accept()
//
// The protocol is specified in proto/relay/v1/link.proto. This package knows
// nothing of tunnels, targets or CONNECT, and authenticates nobody: whoever
// calls Upgrade has done that.
package mux
