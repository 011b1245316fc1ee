package archtest

import (
	"go/ast"
	"go/token"
	"slices"
	"strings"
)

func checkPackageDoc(p *pkg) []finding {
	want := "Package " + p.name() + " "
	production := false
	for _, f := range p.files {
		production = production || !f.test
		if f.test || f.ast.Doc == nil {
			continue
		}
		if text := f.ast.Doc.Text(); strings.HasPrefix(text, want) || p.name() == "main" {
			return nil
		}
	}
	if !production {
		return nil
	}
	return []finding{{where: p.path, text: "has no package comment that begins with \"" + want + "...\""}}
}

func checkExportedDoc(p *pkg) []finding {
	if p.name() == "main" {
		return nil
	}
	var found []finding
	for _, f := range p.files {
		if f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d)) && !wellKnown(d.Name.Name)) {
					found = append(found, f.finding(d, d.Name.Name, "leaves %s without a comment", d.Name.Name))
				}
			case *ast.GenDecl:
				found = append(found, f.undocumented(d)...)
			}
		}
	}
	return found
}

// undocumented checks types, constants and variables. A comment on the group is
// enough for constants and variables, not for types.
func (f *file) undocumented(d *ast.GenDecl) []finding {
	var found []finding
	for _, s := range d.Specs {
		switch s := s.(type) {
		case *ast.TypeSpec:
			if !s.Name.IsExported() {
				continue
			}
			if s.Doc == nil && (d.Doc == nil || d.Lparen.IsValid()) && s.Comment == nil {
				found = append(found, f.finding(s, s.Name.Name, "leaves %s without a comment", s.Name.Name))
			}
			found = append(found, f.undocumentedMethods(s, d.Doc.Text()+s.Doc.Text())...)
		case *ast.ValueSpec:
			if d.Tok == token.IMPORT || d.Doc != nil || s.Doc != nil || s.Comment != nil {
				continue
			}
			if i := slices.IndexFunc(s.Names, (*ast.Ident).IsExported); i >= 0 {
				found = append(found, f.finding(s, s.Names[i].Name, "leaves %s without a comment", s.Names[i].Name))
			}
		}
	}
	return found
}

// undocumentedMethods checks contracts. In an interface of up to three methods,
// and for methods that it names, the comment of the interface is enough.
func (f *file) undocumentedMethods(s *ast.TypeSpec, doc string) []finding {
	i, ok := s.Type.(*ast.InterfaceType)
	if !ok || len(i.Methods.List) <= 3 {
		return nil
	}
	var found []finding
	for _, m := range i.Methods.List {
		if len(m.Names) == 1 && m.Names[0].IsExported() && m.Doc == nil && m.Comment == nil && !strings.Contains(doc, m.Names[0].Name) {
			found = append(found, f.finding(m, s.Name.Name+"."+m.Names[0].Name, "leaves the method %s without a comment", m.Names[0].Name))
		}
	}
	return found
}

// wellKnown names methods that the language gives their meaning.
func wellKnown(method string) bool { return method == "Error" || method == "Unwrap" }

// receiver is the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) string {
	e := d.Recv.List[0].Type
	for {
		switch t := e.(type) {
		case *ast.StarExpr:
			e = t.X
		case *ast.IndexExpr:
			e = t.X
		case *ast.IndexListExpr:
			e = t.X
		case *ast.Ident:
			return t.Name
		default:
			return ""
		}
	}
}
