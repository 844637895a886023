// Package search finds methods by what people call them: BM25 over names, descriptions, inputs and keywords. It is what
// ops_search answers with.
package search

import (
	"cmp"
	"encoding/json"
	"math"
	"slices"
	"strings"

	"github.com/omnitron-dev/omnitron/tools"
)

// The weight of a word by the field that it stands in: what a method is called says most.
const (
	ofVerb    = 4.0
	ofService = 3.0
	ofKeyword = 3.0
	ofTop     = 3.0
	ofDoc     = 1.5
	ofInput   = 0.5

	saturation = 1.2  // how soon a repeated word counts no more (k1)
	byLength   = 0.75 // how much a long text is marked down (b)
	meant      = 0.6  // share of a word that was not said but stands for one that was
)

// Index is immutable and safe for concurrent use.
type Index struct {
	methods []*tools.Method
	docs    []map[string]float64 // weight of each word, by method
	lengths []float64
	average float64
	rarity  map[string]float64
}

// New indexes methods.
func New(methods []*tools.Method) *Index {
	ix := &Index{methods: methods, rarity: map[string]float64{}}
	in := map[string]int{}
	for _, m := range methods {
		doc, length := weigh(m)
		for word := range doc {
			in[word]++
		}
		ix.docs, ix.lengths, ix.average = append(ix.docs, doc), append(ix.lengths, length), ix.average+length
	}
	n := float64(len(methods))
	ix.average = max(1, ix.average/max(1, n))
	for word, count := range in {
		ix.rarity[word] = math.Log(1 + (n-float64(count)+0.5)/(float64(count)+0.5))
	}
	return ix
}

func weigh(m *tools.Method) (doc map[string]float64, length float64) {
	doc = map[string]float64{}
	add := func(text string, weight float64) {
		for _, w := range words(text) {
			doc[w] += weight
			length += weight
		}
	}
	add(m.Verb, ofVerb)
	add(m.Service, ofService)
	add(m.Keywords, ofKeyword)
	add(m.Top, ofTop)
	add(m.Doc, ofDoc)
	for _, a := range m.Aliases {
		add(a, ofKeyword)
	}
	var in struct {
		Properties map[string]struct {
			Description string `json:"description"`
		} `json:"properties"`
	}
	if json.Unmarshal(m.InSchema, &in) == nil {
		for name, p := range in.Properties {
			if name != "dry_run" && name != "confirm" && name != "idempotency_key" { // every changing method has them
				add(name+" "+p.Description, ofInput)
			}
		}
	}
	return doc, length
}

// Search gives at most limit methods that have something to do with the query, the best first. Equal ones stay in the
// order of the catalog.
func (ix *Index) Search(query string, limit int) []*tools.Method {
	type hit struct {
		i     int
		score float64
	}
	var hits []hit
	asked := terms(query)
	for i, doc := range ix.docs {
		score, norm := 0.0, saturation*(1-byLength+byLength*ix.lengths[i]/ix.average)
		for _, t := range asked {
			weight := doc[t.word]
			score += t.share * ix.rarity[t.word] * weight * (saturation + 1) / (weight + norm)
		}
		if score > 0 {
			hits = append(hits, hit{i, score})
		}
	}
	slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.score, a.score) })
	hits = hits[:min(max(limit, 0), len(hits))]
	found := make([]*tools.Method, 0, len(hits))
	for _, h := range hits {
		found = append(found, ix.methods[h.i])
	}
	return found
}

// term is a word of a query; one of the thesaurus counts less than one that was said.
type term struct {
	word  string
	share float64
}

func terms(query string) []term {
	var out []term
	for _, w := range words(query) {
		out = append(out, term{w, 1})
		for _, other := range thesaurus[w] {
			out = append(out, term{other, meant})
		}
	}
	return out
}

// maxWords bounds a query.
const maxWords = 64

// words splits text, folds it and cuts endings, so that restarting finds restart. Words that say nothing are left out.
func words(text string) []string {
	var out []string
	for _, w := range strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127)
	}) {
		if !empty[w] && len(out) < maxWords {
			out = append(out, stem(w))
		}
	}
	return out
}

// stem cuts the commonest English endings, and an e at the end: scale, scales and scaling are one word.
func stem(w string) string {
	for _, end := range [...]string{"ings", "ing", "ies", "ied", "ed", "es", "s"} {
		cut, ok := strings.CutSuffix(w, end)
		if !ok || len(cut) < 3 {
			continue
		}
		last := cut[len(cut)-1]
		switch {
		case end == "ies" || end == "ied":
			return cut + "y"
		case end == "s" && last == 's': // process
			return w
		case last == cut[len(cut)-2] && last != 'l' && last != 's': // stopping
			return cut[:len(cut)-1]
		}
		w = cut
		break
	}
	if cut, ok := strings.CutSuffix(w, "e"); ok && len(cut) >= 3 {
		return cut
	}
	return w
}

var empty = map[string]bool{
	"the": true, "a": true, "an": true, "of": true, "to": true, "in": true, "on": true, "is": true, "it": true, "and": true, "or": true, "for": true,
	"what": true, "how": true, "do": true, "does": true, "i": true, "my": true, "me": true, "that": true, "this": true, "with": true, "are": true, "be": true,
	"can": true, "please": true, "all": true, "was": true, "did": true, "at": true, "as": true, "by": true, "from": true, "there": true, "many": true, "which": true, "you": true, "some": true, "so": true, "when": true, "where": true, "not": true, "have": true, "has": true,
}
