package journal

import "testing"

// A note of missing output says so where its text would be.
func TestWords(t *testing.T) {
	for _, c := range []struct {
		line Line
		want string
	}{
		{Line{Text: "x"}, ""}, {Line{Kind: Gap}, "text ▲ some output is missing here"}, {Line{Kind: Lost, Lost: 7}, "text ▲ 7 bytes of output were lost here"},
	} {
		if column, words := c.line.Words(); column+words != "" && column+" "+words != c.want || column == "" && c.want != "" {
			t.Errorf("%+v: %q %q", c.line, column, words)
		}
	}
}
