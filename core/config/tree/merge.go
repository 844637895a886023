package tree

// Merge lays the tree of a later file over that of an earlier one. Maps are merged key by key, and the lists under the keys named by
// the names of their items; whatever else the later one says takes the place of what was there. A null in it takes away what the
// earlier one says of a key. Neither is changed, and every node keeps its place.
func Merge(base, over *Node, named ...string) *Node {
	if base.Kind != Map || over.Kind != Map {
		return over
	}
	out := *base
	out.Pairs = append([]Pair(nil), base.Pairs...)
	at := map[string]int{}
	for i, p := range out.Pairs {
		at[p.Key.Text] = i
	}
	for _, p := range over.Pairs {
		i, there := at[p.Key.Text]
		switch {
		case !there:
			at[p.Key.Text] = len(out.Pairs)
			out.Pairs = append(out.Pairs, p)
		case out.Pairs[i].Value.Kind == Map && p.Value.Kind == Map:
			out.Pairs[i].Value = Merge(out.Pairs[i].Value, p.Value)
		case out.Pairs[i].Value.Kind == List && p.Value.Kind == List && contains(named, p.Key.Text):
			out.Pairs[i].Value = mergeItems(out.Pairs[i].Value, p.Value)
		default:
			out.Pairs[i] = p
		}
	}
	return &out
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// mergeItems merges the items of two lists by their names. What has no name, or one that the list has given already, is another item:
// whoever reads the tree says what is wrong with that.
func mergeItems(base, over *Node) *Node {
	out := *base
	out.Items = append([]*Node(nil), base.Items...)
	at := map[string]int{}
	for i, item := range out.Items {
		if name := item.Find("name"); name != nil {
			if _, twice := at[name.Text]; !twice {
				at[name.Text] = i
			}
		}
	}
	for _, item := range over.Items {
		if name := item.Find("name"); name != nil {
			if i, there := at[name.Text]; there {
				out.Items[i] = Merge(out.Items[i], item)
				delete(at, name.Text)
				continue
			}
		}
		out.Items = append(out.Items, item)
	}
	return &out
}

// TakeAway marks the nulls of a later file's maps: they take away what an earlier file says.
func (n *Node) TakeAway() {
	n.Walk(func(n *Node) {
		for _, p := range n.Pairs {
			p.Value.Gone = p.Value.Kind == Null
		}
	})
}
