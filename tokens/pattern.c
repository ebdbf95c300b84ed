/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a POSIX extended regular expression and compiles it. It refuses expressions that could cost
 * too much or mean something other than they say: back-references, repeats within repeats,
 * unbalanced parentheses, GNU's own operators. container.c calls it when a token is verified or
 * signed; it never matches anything.
 *
 *   alternation = branch *( "|" branch )          every branch and group holds something
 *   branch      = 1*( atom [ quantifier ] )       one quantifier at most
 *   atom        = character / "." / "^" / "$" / "[" ... "]" / "\" punctuation / "(" alternation ")"
 *
 * The text is read twice: first to judge and measure it, then to compile it, each repeat by reading
 * its atom again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tokens/pattern_internal.h"

struct scanner {
    const char *text;
    size_t length;
    size_t at;
    size_t depth;
};

/* What an expression costs. */
struct weight {
    size_t cost;  /* characters once the repeats are written out */
    bool repeats; /* holds *, + or {}: must not be repeated again, or instructions multiply */
};

/* How often an atom stands: `least` times, then up to `most` times, or without end. */
struct repeat {
    size_t least;
    size_t most;
    bool endless;
};

static bool scan_alternation(struct scanner *scanner, struct weight *weight);

static bool at_end(const struct scanner *scanner)
{
    return scanner->at == scanner->length;
}

static char peek(const struct scanner *scanner)
{
    if (at_end(scanner))
        return '\0';
    return scanner->text[scanner->at];
}

static void add(struct pattern_set *set, unsigned char byte)
{
    set->bits[byte / 64] |= (uint64_t)1 << (byte % 64);
}

static void add_range(struct pattern_set *set, unsigned char from, unsigned char to)
{
    for (unsigned byte = from; byte <= to; byte++)
        add(set, (unsigned char)byte);
}

/* The classes of the POSIX locale (POSIX.1 section 7.3.1), as ranges. */
static const struct {
    const char *name;
    const char *ranges; /* pairs of first and last */
} classes[] = {
    {"alnum", "09AZaz"},   {"alpha", "AZaz"},   {"blank", "  \t\t"}, {"cntrl", "\001\037\177\177"},
    {"digit", "09"},       {"graph", "!~"},     {"lower", "az"},     {"print", " ~"},
    {"punct", "!/:@[`{~"}, {"space", "  \t\r"}, {"upper", "AZ"},     {"xdigit", "09AFaf"},
};

/*
 * Reads "[:alpha:]" within a bracket expression; refuses collating symbols and equivalence classes.
 */
static bool scan_class(struct scanner *scanner, struct pattern_set *set)
{
    const char *name = scanner->text + scanner->at + 2;
    size_t left = scanner->length - scanner->at - 2;

    if (name[-1] != ':')
        return false;
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        size_t length = strlen(classes[i].name);
        if (left < length + 2 || memcmp(name, classes[i].name, length) != 0 ||
            memcmp(name + length, ":]", 2) != 0)
            continue;
        for (const char *range = classes[i].ranges; *range != '\0'; range += 2)
            add_range(set, (unsigned char)range[0], (unsigned char)range[1]);
        scanner->at += 2 + length + 2;
        return true;
    }
    return false;
}

/* Reads one character or range of a bracket expression. */
static bool scan_range(struct scanner *scanner, struct pattern_set *set)
{
    unsigned char from = (unsigned char)peek(scanner);
    unsigned char to = from;

    scanner->at++;
    if (peek(scanner) == '-' && scanner->at + 1 < scanner->length &&
        scanner->text[scanner->at + 1] != ']') {
        to = (unsigned char)scanner->text[scanner->at + 1];
        /* "[a-[.x.]]" and the like are hardly ever meant. */
        if (to == '[')
            return false;
        scanner->at += 2;
        /* POSIX.1 section 9.3.5 leaves "a-b-c" undefined; a "-" that ends the list is plain. */
        if (peek(scanner) == '-' && scanner->at + 1 < scanner->length &&
            scanner->text[scanner->at + 1] != ']')
            return false;
    }
    if (from < 0x20 || from > 0x7e || to > 0x7e || to < from)
        return false;
    add_range(set, from, to);
    return true;
}

/*
 * Reads from "[" to past its "]". A "]" that comes first stands for itself (POSIX.1 section 9.3.5).
 */
static bool scan_bracket(struct scanner *scanner, struct pattern_set *set)
{
    bool negated;
    bool first = true;

    scanner->at++;
    negated = peek(scanner) == '^';
    if (negated)
        scanner->at++;
    while (!at_end(scanner) && (first || peek(scanner) != ']')) {
        bool is_class = peek(scanner) == '[' && scanner->at + 1 < scanner->length &&
                        strchr(":.=", scanner->text[scanner->at + 1]) != NULL;
        if (!(is_class ? scan_class(scanner, set) : scan_range(scanner, set)))
            return false;
        first = false;
    }
    if (at_end(scanner))
        return false;
    scanner->at++;
    if (negated) {
        set->bits[0] = ~set->bits[0];
        set->bits[1] = ~set->bits[1];
    }
    return true;
}

static bool scan_group(struct scanner *scanner, struct weight *weight)
{
    scanner->at++;
    if (++scanner->depth > PATTERN_DEPTH_MAX || !scan_alternation(scanner, weight) ||
        peek(scanner) != ')')
        return false;
    scanner->depth--;
    scanner->at++;
    return true;
}

/* Digits and letters after a backslash are back-references and GNU operators, and so are ` ' < and
 * >; they are refused. */
static bool scan_escape(struct scanner *scanner, struct pattern_set *set)
{
    char byte;

    scanner->at++;
    byte = peek(scanner);
    if (byte == '\0' || strchr("^.[]$()|*+?{}\\/:-_~!@#%&=,;\"", byte) == NULL)
        return false;
    add(set, (unsigned char)byte);
    scanner->at++;
    return true;
}

/* Reads an atom that stands for one character into `set`. */
static bool scan_character(struct scanner *scanner, struct pattern_set *set)
{
    char byte = peek(scanner);

    *set = (struct pattern_set){{0, 0}};
    if (byte == '[')
        return scan_bracket(scanner, set);
    if (byte == '\\')
        return scan_escape(scanner, set);
    if (byte < 0x21 || byte > 0x7e || strchr("*+?{)|", byte) != NULL)
        return false;
    if (byte == '.')
        add_range(set, 0, 127);
    else
        add(set, (unsigned char)byte);
    scanner->at++;
    return true;
}

static bool scan_atom(struct scanner *scanner, struct weight *weight)
{
    struct pattern_set set;

    *weight = (struct weight){.cost = 1};
    if (peek(scanner) == '(')
        return scan_group(scanner, weight);
    return scan_character(scanner, &set);
}

static bool scan_number(struct scanner *scanner, size_t *number)
{
    size_t digits = 0;

    *number = 0;
    while (peek(scanner) >= '0' && peek(scanner) <= '9' && digits < 4) {
        *number = *number * 10 + (size_t)(peek(scanner) - '0');
        scanner->at++;
        digits++;
    }
    return digits > 0 && *number <= PATTERN_REPEAT_MAX;
}

/* "{n}", "{n,}" or "{n,m}". */
static bool scan_interval(struct scanner *scanner, struct repeat *repeat)
{
    scanner->at++;
    if (!scan_number(scanner, &repeat->least))
        return false;
    repeat->most = repeat->least;
    if (peek(scanner) == ',') {
        scanner->at++;
        repeat->endless = peek(scanner) == '}';
        if (!repeat->endless &&
            (!scan_number(scanner, &repeat->most) || repeat->most < repeat->least))
            return false;
    }
    if (peek(scanner) != '}')
        return false;
    scanner->at++;
    return true;
}

/* The quantifier after an atom, if any: without one the atom stands once. */
static bool scan_quantifier(struct scanner *scanner, struct repeat *repeat)
{
    *repeat = (struct repeat){.least = 1, .most = 1};
    switch (peek(scanner)) {
    case '?':
        repeat->least = 0;
        scanner->at++;
        break;
    case '*':
        repeat->least = repeat->most = 0;
        repeat->endless = true;
        scanner->at++;
        break;
    case '+':
        repeat->endless = true;
        scanner->at++;
        break;
    case '{':
        if (!scan_interval(scanner, repeat))
            return false;
        break;
    default:
        return true;
    }
    /* A second quantifier would be a repeat of a repeat. */
    return peek(scanner) == '\0' || strchr("*+?{", peek(scanner)) == NULL;
}

/* Reads an atom with its quantifier. "?" does not multiply and may stand on anything. */
static bool scan_piece(struct scanner *scanner, struct weight *weight)
{
    const size_t start = scanner->at;
    const bool is_anchor = peek(scanner) == '^' || peek(scanner) == '$';
    struct repeat repeat;
    bool multiplies;

    if (!scan_atom(scanner, weight) || !scan_quantifier(scanner, &repeat))
        return false;
    /* POSIX.1 section 9.4.6 leaves "^*" undefined. */
    if (is_anchor && scanner->at != start + 1)
        return false;
    multiplies = repeat.endless || repeat.most != 1;
    if (multiplies && weight->repeats)
        return false;
    weight->repeats = weight->repeats || multiplies;
    weight->cost *= repeat.most + (repeat.endless ? 1 : 0);
    return true;
}

static bool scan_branch(struct scanner *scanner, struct weight *weight)
{
    struct weight part;

    *weight = (struct weight){0};
    do {
        if (!scan_piece(scanner, &part))
            return false;
        weight->cost += part.cost;
        weight->repeats = weight->repeats || part.repeats;
        if (weight->cost > PATTERN_COST_MAX)
            return false;
    } while (!at_end(scanner) && peek(scanner) != '|' && peek(scanner) != ')');
    return true;
}

static bool scan_alternation(struct scanner *scanner, struct weight *weight)
{
    struct weight branch;

    *weight = (struct weight){0};
    for (;;) {
        if (!scan_branch(scanner, &branch))
            return false;
        weight->cost += branch.cost;
        weight->repeats = weight->repeats || branch.repeats;
        if (weight->cost > PATTERN_COST_MAX)
            return false;
        if (peek(scanner) != '|')
            return true;
        scanner->at++;
    }
}

/* ---- compiling: the text is known to be sound, so that reading it again cannot fail ---- */

struct compiler {
    struct scanner scanner;
    bool full; /* the program has no room left: the expression is refused */
    struct pattern_instruction program[PATTERN_PROGRAM_MAX];
    uint16_t count;
};

static void compile_alternation(struct compiler *compiler);

/* Appends an instruction and returns its index; nothing is written past the end. */
static uint16_t emit(struct compiler *compiler, enum pattern_code code)
{
    struct pattern_instruction *instruction;

    if (compiler->count == PATTERN_PROGRAM_MAX) {
        compiler->full = true;
        return 0;
    }
    instruction = &compiler->program[compiler->count];
    memset(instruction, 0, sizeof(*instruction));
    instruction->code = code;
    return compiler->count++;
}

/*
 * Appends a split that goes on with the next instruction and with one that the caller sets later.
 */
static uint16_t emit_split(struct compiler *compiler)
{
    uint16_t at = emit(compiler, PATTERN_SPLIT);

    compiler->program[at].first = compiler->count;
    return at;
}

static void compile_atom(struct compiler *compiler)
{
    struct scanner *scanner = &compiler->scanner;
    struct pattern_set set;
    char byte = peek(scanner);

    if (byte == '(') {
        scanner->at++;
        compile_alternation(compiler);
        scanner->at++;
    } else if (byte == '^' || byte == '$') {
        scanner->at++;
        (void)emit(compiler, byte == '^' ? PATTERN_BEGIN : PATTERN_END);
    } else if (scan_character(scanner, &set)) {
        uint16_t at = emit(compiler, PATTERN_CHARACTER);
        compiler->program[at].set = set;
    }
}

/* Compiles the atom that starts at `start` once more. */
static void compile_again(struct compiler *compiler, size_t start)
{
    compiler->scanner.at = start;
    compile_atom(compiler);
}

static void compile_piece(struct compiler *compiler)
{
    const size_t start = compiler->scanner.at;
    struct weight weight;
    struct repeat repeat;
    size_t end;
    uint16_t split;

    (void)scan_atom(&compiler->scanner, &weight);
    (void)scan_quantifier(&compiler->scanner, &repeat);
    end = compiler->scanner.at;
    for (size_t i = 0; i < repeat.least; i++)
        compile_again(compiler, start);
    for (size_t i = repeat.least; i < repeat.most; i++) {
        split = emit_split(compiler);
        compile_again(compiler, start);
        compiler->program[split].second = compiler->count;
    }
    if (repeat.endless) {
        uint16_t jump;
        split = emit_split(compiler);
        compile_again(compiler, start);
        jump = emit(compiler, PATTERN_JUMP);
        compiler->program[jump].first = split;
        compiler->program[split].second = compiler->count;
    }
    compiler->scanner.at = end;
}

/* Whether no further branch follows the one that starts here. */
static bool is_last_branch(struct scanner scanner)
{
    struct weight weight;

    (void)scan_branch(&scanner, &weight);
    return peek(&scanner) != '|';
}

static void compile_branch(struct compiler *compiler)
{
    do
        compile_piece(compiler);
    while (!at_end(&compiler->scanner) && peek(&compiler->scanner) != '|' &&
           peek(&compiler->scanner) != ')');
}

static void compile_alternation(struct compiler *compiler)
{
    uint16_t jumps[PATTERN_LENGTH_MAX];
    size_t count = 0;

    while (!is_last_branch(compiler->scanner)) {
        uint16_t split = emit_split(compiler);
        compile_branch(compiler);
        jumps[count++] = emit(compiler, PATTERN_JUMP);
        compiler->program[split].second = compiler->count;
        compiler->scanner.at++; /* the "|" */
    }
    compile_branch(compiler);
    while (count > 0)
        compiler->program[jumps[--count]].first = compiler->count;
}

static int compile(struct compiler *compiler, struct pattern **out)
{
    struct pattern *pattern;
    size_t size;

    compile_alternation(compiler);
    (void)emit(compiler, PATTERN_MATCH);
    if (compiler->full)
        return -EINVAL;
    size = compiler->count * sizeof(pattern->program[0]);
    pattern = malloc(sizeof(*pattern) + size);
    if (pattern == NULL)
        return -ENOMEM;
    pattern->count = compiler->count;
    memcpy(pattern->program, compiler->program, size);
    *out = pattern;
    return 0;
}

int pattern_compile(struct pattern **out, const char *text, size_t length)
{
    struct scanner scanner = {.text = text, .length = length};
    struct weight weight;
    struct compiler *compiler;
    int result;

    *out = NULL;
    if (length == 0 || length > PATTERN_LENGTH_MAX || !scan_alternation(&scanner, &weight) ||
        !at_end(&scanner))
        return -EINVAL;
    compiler = calloc(1, sizeof(*compiler));
    if (compiler == NULL)
        return -ENOMEM;
    compiler->scanner = (struct scanner){.text = text, .length = length};
    result = compile(compiler, out);
    free(compiler);
    return result;
}

void pattern_destroy(struct pattern **pattern)
{
    free(*pattern);
    *pattern = NULL;
}
