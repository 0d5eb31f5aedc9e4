package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
)

// print writes the table in Markdown, and below it how it came about.
func (r *results) print(w io.Writer, s *settings, links []string) error {
	var b strings.Builder
	titles := append([]string{"figure"}, r.systems...)
	titles = append(titles, "ferry/limit", "ferry/perconnect", "required")
	tableLine(&b, titles)
	tableLine(&b, slices.Repeat([]string{"---"}, len(titles)))
	for _, f := range r.figures {
		for _, row := range f.rows {
			tableLine(&b, r.row(f, row))
		}
	}
	r.caption(&b, s, links)
	_, err := io.WriteString(w, b.String())
	return err
}

// caption says how the figures came about, and what the links were found to be.
func (r *results) caption(b *strings.Builder, s *settings, links []string) {
	fmt.Fprintf(b, "\nMedians of %d rounds of %v each, and how far a round was from them at most; on %d CPUs, with %s.\n\n",
		s.Rounds, s.Time, runtime.NumCPU(), runtime.Version())
	for _, f := range r.figures {
		fmt.Fprintf(b, "- **%s.** %s%s\n", f.name, f.how, f.size(s))
	}
	for _, link := range links {
		fmt.Fprintf(b, "- %s\n", link)
	}
}

func tableLine(b *strings.Builder, cells []string) {
	fmt.Fprintf(b, "| %s |\n", strings.Join(cells, " | "))
}

// row is one line: the medians, each with how far a round was from it, ratios, and
// whether the bound holds.
func (r *results) row(f *figure, w row) []string {
	medians := r.medians(f, w)
	cells := []string{title(f, w)}
	for _, system := range r.systems {
		spread := r.spread(cell{f.name, w.name, system})
		cells = append(cells, fmt.Sprintf("%s ± %.0f %%", short(medians[system]), 100*spread))
	}
	cells = append(cells, ratio(medians, "limit"), ratio(medians, "perconnect"))
	return append(cells, verdict(w.required, medians))
}

// title names a row and its unit, if it has one.
func title(f *figure, w row) string {
	if w.unit == "" {
		return f.name + ": " + w.name
	}
	return fmt.Sprintf("%s: %s (%s)", f.name, w.name, w.unit)
}

func ratio(medians map[string]float64, of string) string {
	if medians["ferry"] == 0 || medians[of] == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", medians["ferry"]/medians[of])
}

// verdict says what is required, and whether it holds, if that was measured.
func verdict(required bound, medians map[string]float64) string {
	if required.factor == 0 || medians["ferry"] == 0 || required.of != "" && medians[required.of] == 0 {
		return required.String()
	}
	if required.holds(medians) {
		return required.String() + " ✓"
	}
	return required.String() + " ✗"
}

// short writes a number with three digits or all before the point.
func short(x float64) string {
	switch {
	case x >= 100:
		return fmt.Sprintf("%.0f", x)
	case x >= 10:
		return fmt.Sprintf("%.1f", x)
	case x >= 1:
		return fmt.Sprintf("%.2f", x)
	}
	return fmt.Sprintf("%.3f", x)
}
