package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// known are results that were made up.
func known() *results {
	f := &figure{name: "speed", how: "Made <up> & known.", rows: []row{
		{"up", "MB/s", atLeast(2, "perconnect")},
		{"time", "ms", atMost(1, "")},
		{"free", "", bound{}},
	}}
	r := newResults([]*figure{f}, systems)
	for system, factor := range map[string]float64{"limit": 4, "perconnect": 1, "ferry": 2} {
		for _, noise := range []float64{1, 0.9, 1.05} {
			r.add(f, system, values{"up": 100 * factor * noise, "time": factor, "free": 0.5})
		}
	}
	return r
}

func TestTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	if err := known().print(&b, &settings{Rounds: 3, Time: time.Second}, []string{"The link held."}); err != nil {
		t.Fatal(err)
	}
	table, caption, _ := strings.Cut(b.String(), "\n\n")
	want := `| figure | limit | perconnect | ferry | ferry/limit | ferry/perconnect | required |
| --- | --- | --- | --- | --- | --- | --- |
| speed: up (MB/s) | 400 ± 10 % | 100 ± 10 % | 200 ± 10 % | 0.50 | 2.00 | ≥ 2 × perconnect ✓ |
| speed: time (ms) | 4.00 ± 0 % | 1.00 ± 0 % | 2.00 ± 0 % | 0.50 | 2.00 | ≤ 1 ✗ |
| speed: free | 0.500 ± 0 % | 0.500 ± 0 % | 0.500 ± 0 % | 1.00 | 1.00 |  |`
	if table != want {
		t.Errorf("the table is\n%s\nwant\n%s", table, want)
	}
	for _, part := range []string{"Medians of 3 rounds", "- **speed.** Made <up> & known.\n", "- The link held.\n"} {
		if !strings.Contains(caption, part) {
			t.Errorf("the caption lacks %q: %s", part, caption)
		}
	}
}

func TestTableOfFerryAlone(t *testing.T) {
	t.Parallel()
	r := known()
	r.systems = []string{"ferry"}
	got := strings.Join(r.row(r.figures[0], r.figures[0].rows[0]), "|")
	if want := "speed: up (MB/s)|200 ± 10 %|||≥ 2 × perconnect"; got != want {
		t.Errorf("got %s, want %s: nothing to compare with", got, want)
	}
}

func TestPlotIsXMLWithABarForEachValue(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "plots")
	if err := known().plot(folder); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(folder, "speed.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bars := 0
	d := xml.NewDecoder(f)
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if element, ok := token.(xml.StartElement); ok && element.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 9 {
		t.Errorf("%d bars, want 3 systems in each of 3 rows", bars)
	}
}
