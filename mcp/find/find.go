// Package find ranks short documents by how well they answer a few words, the same way every time.
package find

import (
	"math"
	"slices"
	"strings"
	"unicode"
)

// Doc is something to be found.
type Doc struct {
	ID    string
	Name  string // its words count three times
	Text  string
	Other string // words that people use for it; they count as those of the text
}

// Index is a ready list of documents.
type Index struct {
	ids   []string
	terms []map[string]float64
	size  []float64
	seen  map[string]int // documents that have the word
	mean  float64
}

// New makes an index.
func New(docs []Doc) *Index {
	x := &Index{seen: map[string]int{}}
	for _, d := range docs {
		words := map[string]float64{}
		size := 0.0
		add := func(text string, weight float64) {
			for _, w := range split(text) {
				words[w] += weight
				size++
			}
		}
		add(d.Name, 3)
		add(d.Text, 1)
		add(d.Other, 1.5)
		for w := range words {
			x.seen[w]++
		}
		x.ids, x.terms, x.size = append(x.ids, d.ID), append(x.terms, words), append(x.size, size)
		x.mean += size
	}
	x.mean /= max(1, float64(len(docs)))
	return x
}

// Search gives the ids of at most n documents, the best first (BM25); none that has no word in common.
func (x *Index) Search(query string, n int) []string {
	const k, b = 1.2, 0.5
	type hit struct {
		id    string
		score float64
	}
	var hits []hit
	for i, words := range x.terms {
		score := 0.0
		for _, w := range split(query) {
			if f := words[w]; f > 0 {
				idf := math.Log(1 + (float64(len(x.ids))-float64(x.seen[w])+.5)/(float64(x.seen[w])+.5))
				score += idf * f * (k + 1) / (f + k*(1-b+b*x.size[i]/x.mean))
			}
		}
		if score > 0 {
			hits = append(hits, hit{x.ids[i], score})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int {
		switch {
		case a.score > b.score:
			return -1
		case a.score < b.score:
			return 1
		}
		return strings.Compare(a.id, b.id)
	})
	ids := make([]string, 0, n)
	for _, h := range hits[:min(n, len(hits))] {
		ids = append(ids, h.id)
	}
	return ids
}

// filler are words that say nothing of what is wanted.
var filler = map[string]bool{"a": true, "an": true, "the": true, "of": true, "to": true, "is": true, "are": true, "my": true, "me": true, "i": true,
	"in": true, "on": true, "for": true, "and": true, "or": true, "it": true, "that": true, "this": true, "with": true, "do": true, "does": true}

// split gives the stems of the words of a text.
func split(text string) []string {
	words := strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	out := words[:0]
	for _, w := range words {
		if !filler[w] {
			out = append(out, stem(w))
		}
	}
	return out
}

// stem cuts the endings that matter least, so that restarts, restarted and restarting meet.
func stem(w string) string {
	for _, end := range []string{"ing", "ed", "es", "s"} {
		if rest, ok := strings.CutSuffix(w, end); ok && len(rest) >= 3 {
			w = rest
			break
		}
	}
	if n := len(w); n > 3 && w[n-1] == w[n-2] && w[n-1] != 's' && w[n-1] != 'l' { // stopp(ed)
		w = w[:n-1]
	}
	return strings.TrimSuffix(w, "e")
}
