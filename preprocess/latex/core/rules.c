// What is removed because only typesetting needs it: commands and environments, by rule and cause.
//
// Sections, theorems, lists, mathematics, tables, citations and labels stay as written.
#include "layout.h"

static const struct {
    enum Rule rule;
    enum Cause cause;
    const char* names;
} RULES[] = {
    {TREATED_ENVIRONMENT, FIGURES,
     " figure figure* wrapfigure wrapfigure* SCfigure sidewaysfigure sidewaysfigure* floatingfigure"
     " teaserfigure marginfigure mfigure subfigures psfigure figwindow "},
    {TREATED_ENVIRONMENT, TABLES,
     " table table* wraptable sidewaystable sidewaystable* margintable deluxetable deluxetable* "},
    {TREATED_ENVIRONMENT, ALGORITHMS, " algorithm algorithm* algorithm2e procedure function algorithmic "},
    {TREATED_ENVIRONMENT, DRAWINGS,
     " tikzpicture picture pspicture pspicture* pgfpicture asy fmffile fmfgraph fmfgraph* feynman"
     " feynmandiagram forest axis animateinline sagesilent "},
    {TREATED_ENVIRONMENT, BIBLIOGRAPHY, " thebibliography references biblist bibdiv "},
    {TREATED_ENVIRONMENT, FRONT_MATTER,
     " abstract abstract* keyword keywords IEEEkeywords CCSXML titlepage AMS altabstract "},
    // Commands that are removed with their arguments, which are all {groups} and [options] directly behind
    // them.
    {REMOVED_COMMAND, LAYOUT,
     " noindent indent vspace newpage clearpage cleardoublepage pagebreak nopagebreak bigskip medskip"
     " smallskip vfill vfil vskip bigbreak medbreak smallbreak goodbreak centering raggedright raggedleft"
     " sloppy fussy samepage tableofcontents listoffigures listoftables listofalgorithms maketitle"
     " pagestyle thispagestyle pagenumbering markboth markright setcounter addtocounter setlength"
     " addtolength addcontentsline addtocontents index glossary printindex makeindex newcounter newlength"
     " newtheorem theoremstyle numberwithin usepackage RequirePackage hypersetup graphicspath captionsetup"
     " lstset tikzset usetikzlibrary pgfplotsset definecolor geometry makeatletter makeatother"
     " phantomsection allowdisplaybreaks onecolumn twocolumn singlespacing doublespacing onehalfspacing"
     " frontmatter mainmatter backmatter balance FloatBarrier flushbottom raggedbottom enlargethispage"
     " includegraphics epsfbox epsffile epsfig psfig psfrag includepdf linebreak nolinebreak nobreak eject"
     " NoBlackBoxes loadmsbm loadeufm nologo linenumbers nolinenumbers modulolinenumbers bibliographystyle"
     " DeclareGraphicsExtensions fancyhead fancyfoot fancyhf lhead rhead chead cfoot lfoot rfoot "},
    {REMOVED_COMMAND, FRONT_MATTER,
     " title titlerunning shorttitle author authors authorrunning address email affiliation affil institute"
     " institution date thanks curraddr urladdr subjclass pacs keywords dedicatory altaffiliation homepage"
     " preprint received revised accepted abstract ead cortext fntext cortitle offprints orcidID orcid"
     " correspondingauthor icmltitle icmlauthor icmladdress markfirst tocauthor toctitle subtitle"
     " collaboration noaffiliation slugcomment shortauthors altaffiltext altaffilmark "},
    {REMOVED_COMMAND, BIBLIOGRAPHY, " bibliography printbibliography nocite addbibresource "},
    // Environments in plain form: \topmatter ... \endtopmatter.
    {PAIR, FRONT_MATTER, " topmatter "},
    {PAIR, COMMENT_ENVIRONMENTS, " comment "},
    // Registers whose assignments are removed: \parskip=3pt plus 1pt, \magnification=1200, \baselineskip
    // 12pt.
    {REGISTER, LAYOUT,
     " baselineskip baselinestretch columnsep evensidemargin footline footskip headheight headline headsep"
     " hfuzz hoffset hsize leftskip magnification mathsurround oddsidemargin overfullrule pageno parindent"
     " parskip rightskip textheight textwidth tolerance topmargin topskip vfuzz voffset vsize "},
    // Layout in prose; in mathematics it stays as written.
    {WITHOUT_ARGUMENTS, PROSE_LAYOUT,
     " Huge LARGE Large allowbreak footnotesize huge ignorespaces large leavevmode normalcolor normalsize"
     " scriptsize selectfont small strut tiny unskip "},
    {ONE_GROUP, PROSE_LAYOUT, " color phantom vphantom hphantom fontfamily fontseries fontshape "},
    {TWO_GROUPS, PROSE_LAYOUT, " fontsize "},
    {COLOURED, PROSE_LAYOUT, " colorbox textcolor "},
    {HSPACE, PROSE_LAYOUT, " hspace "},
    {HSKIP, PROSE_LAYOUT, " hskip "},
    {HFILL, PROSE_LAYOUT, " hfill "},
    {PARAGRAPH, PROSE_LAYOUT, " par "},
};

Names layout_names;

void make_layout_rules(void) {
    make_name(&layout_names, TEXT("\\begin"), TEXT(""));
    make_name(&layout_names, TEXT("\\end"), TEXT(""));
    mark_beginning(layout_names.beginnings, TEXT("\\"));  // a line break
    for (u32 n = 0; n < sizeof RULES / sizeof *RULES; n++) {
        Text start = RULES[n].rule == TREATED_ENVIRONMENT ? TEXT("{") : TEXT("\\");
        const u8* at = (const u8*)RULES[n].names;
        while (at[0] && at[1]) {
            i32 n_bytes = 0;
            while (at[1 + n_bytes] != ' ') n_bytes++;
            Name* name = make_name(&layout_names, start, (Text){at + 1, n_bytes});
            name->rule = RULES[n].rule;
            name->cause = RULES[n].cause;
            at += 1 + n_bytes;
        }
    }
}
