//go:build !unix

package wire

// watch does nothing: the source waits in its reader's Read, with a buffer.
func (s *source) watch() {}

// lost finds nothing out.
func (s *source) lost() error { return nil }
