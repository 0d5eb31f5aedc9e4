package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// The test binary is ferry itself when it is called by that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"ferry": main})
}

// The scripts in testdata are the command line's contract.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("TARGET", startTarget(t))
			e.Setenv("NO_PROXY", "") // the target is on loopback
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exit": exitStatus},
	})
}

// exitStatus runs ferry and checks its exit status: exit 2 client --bogus.
func exitStatus(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 {
		ts.Fatalf("usage: exit STATUS [ARGUMENTS OF FERRY]")
	}
	err := ts.Exec("ferry", args[1:]...)
	if got := statusOf(err); got != args[0] {
		ts.Fatalf("ferry exited with %s, want %s", got, args[0])
	}
}
