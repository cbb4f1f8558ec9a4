/*
 * merge.c
 *		The second stage of grouping: joins templates that differ in one word
 *		where there is evidence that the word is a variable.
 *
 * Two templates can join when they have as many words (between white space)
 * and are equal but for one, and at least CONSTANTS_MIN of the other words are
 * constant. They do
 *
 *	- if one has a variable where the other has a name in the same place of that
 *	  word: chdir(<*>) and chdir(pwd), or
 *	- if at least WORDS_SEEN_MIN different constant words were seen there.
 *
 * A group is a connected component; its number is the least fingerprint in it.
 * So the result is a function of the set of templates.
 *
 * A template with one word left out is a pattern, and is hashed from hashes of
 * the words before and after it: all patterns of a template cost one pass over
 * it. Patterns are sorted; those that are equal lie together. The state is
 * capped: of more than TEMPLATES_MAX templates the ones with the least
 * fingerprints take part, of a template its first POSITIONS_MAX words may vary,
 * and of the words with a variable in one place VARIABLES_MAX are compared. The
 * others are groups of their own.
 */
#include "group_private.h"

#include "miscadmin.h"
#include "utils/memutils.h"

#include "group/merge.h"

#define WORDS_SEEN_MIN 8
#define CONSTANTS_MIN 2
#define TEMPLATES_MAX 100000
#define POSITIONS_MAX 64
#define WORDS_MAX 1024
#define VARIABLES_MAX 16

/* A template without one of its words. */
typedef struct Pattern
{
	uint64 hash; /* of the other words, their number and the position */
	uint64 word; /* hash of the word left out */
	int32 template;
	uint16 start; /* of the word left out */
	uint16 len;
} Pattern;

typedef struct Word
{
	uint64 hash;
	uint16 start;
	uint16 len;
	bool constant; /* has a letter and no variable */
} Word;

/* Orders pointers to templates by fingerprint. */
static int
compare_templates(const void *a, const void *b)
{
	int64 x = (*(MalsTemplate *const *) a)->fingerprint;
	int64 y = (*(MalsTemplate *const *) b)->fingerprint;

	return (x > y) - (x < y);
}

/* Orders patterns by hash, then by the word left out. */
static int
compare_patterns(const void *a, const void *b)
{
	const Pattern *x = a;
	const Pattern *y = b;

	if (x->hash != y->hash)
		return x->hash < y->hash ? -1 : 1;
	return (x->word > y->word) - (x->word < y->word);
}

/* Finds the first variable in a word, or returns -1. */
static int
find_variable(const char *word, int len)
{
	for (int i = 0; i + GROUP_VARIABLE_LEN <= len; i++)
	{
		if (word[i] == '<' && memcmp(word + i, GROUP_VARIABLE, GROUP_VARIABLE_LEN) == 0)
			return i;
	}
	return -1;
}

/* Splits a template into words, returns their number, or 0 if it is too long. */
static int
split_words(const char *text, int len, Word *words)
{
	int count = 0;
	int at = 0;

	if (len > GROUP_OUTPUT_MAX)
		return 0;
	while (at < len)
	{
		Word *word = &words[count];
		int start = at;
		bool letter = false;

		for (; at < len && text[at] != ' '; at++)
			letter |= group_is_alpha(text[at]) || IS_HIGHBIT_SET(text[at]);
		word->hash = mals_group_hash(0, text + start, at - start);
		word->start = start;
		word->len = at - start;
		word->constant = letter && find_variable(text + start, at - start) < 0;
		while (at < len && text[at] == ' ')
			at++;
		if (++count == WORDS_MAX)
			return 0;
	}
	return count;
}

/* Makes the patterns of a template, returns their number. */
static int
make_patterns(const MalsTemplate *template, int index, Pattern *patterns)
{
	Word words[WORDS_MAX];
	uint64 after[POSITIONS_MAX + 1];
	int count = split_words(template->text, template->len, words);
	int positions = Min(count, POSITIONS_MAX);
	int constants = 0;
	int made = 0;
	uint64 before = count;
	uint64 hash = 0;

	for (int i = 0; i < count; i++)
		constants += words[i].constant;
	for (int i = count - 1; i >= 0; i--)
	{
		if (i < positions)
			after[i] = hash;
		hash = mals_group_hash_add(hash, words[i].hash);
	}
	for (int i = 0; i < positions; i++)
	{
		if (constants - words[i].constant >= CONSTANTS_MIN)
		{
			Pattern *pattern = &patterns[made++];

			pattern->hash = mals_group_hash_add(mals_group_hash_add(before, after[i]), i);
			pattern->word = words[i].hash;
			pattern->template = index;
			pattern->start = words[i].start;
			pattern->len = words[i].len;
		}
		before = mals_group_hash_add(before, words[i].hash);
	}
	return made;
}

/* Finds the root of a template's group: the one with the least fingerprint. */
static int32
find_root(int32 *parent, int32 at)
{
	while (parent[at] != at)
	{
		parent[at] = parent[parent[at]];
		at = parent[at];
	}
	return at;
}

/* Joins the groups of two templates. */
static void
join_groups(int32 *parent, int32 a, int32 b)
{
	a = find_root(parent, a);
	b = find_root(parent, b);
	if (a < b)
		parent[b] = a;
	else
		parent[a] = b;
}

/* Tells whether a word has a name where another, with one variable in it, has the variable. */
static bool
word_fits(const char *variable, int variable_len, int at, const char *word, int len)
{
	int after = variable_len - at - GROUP_VARIABLE_LEN;

	if (len <= at + after || memcmp(word, variable, at) != 0 ||
		memcmp(word + len - after, variable + variable_len - after, after) != 0)
		return false;
	for (int i = at; i < len - after; i++)
	{
		unsigned char c = word[i];

		if (!group_is_alnum(c) && !IS_HIGHBIT_SET(c) && c != '_' && c != '-' && c != '.')
			return false;
	}
	return true;
}

/* Joins templates of one pattern where the word left out is a variable. */
static void
join_pattern(MalsTemplate *const *templates, const Pattern *patterns, size_t count, int32 *parent)
{
	int variables = 0;
	int words = 0;
	const Pattern *first_word = NULL;

	for (size_t i = 0; i < count; i++)
	{
		const Pattern *pattern = &patterns[i];
		const char *word = templates[pattern->template]->text + pattern->start;
		int at;

		if (i > 0 && pattern->word == pattern[-1].word)
			continue;
		at = find_variable(word, pattern->len);
		if (at < 0)
		{
			words++;
			continue;
		}
		if (variables++ >= VARIABLES_MAX)
			continue;
		for (size_t j = 0; j < count; j++)
		{
			const Pattern *other = &patterns[j];

			if (word_fits(word, pattern->len, at, templates[other->template]->text + other->start,
						  other->len))
				join_groups(parent, pattern->template, other->template);
		}
	}
	if (words < WORDS_SEEN_MIN)
		return;
	for (size_t i = 0; i < count; i++)
	{
		const Pattern *pattern = &patterns[i];

		if (find_variable(templates[pattern->template]->text + pattern->start, pattern->len) >= 0)
			continue;
		if (first_word == NULL)
			first_word = pattern;
		else
			join_groups(parent, first_word->template, pattern->template);
	}
}

/* Groups templates. */
void
mals_merge_templates(MalsTemplate *templates, int count)
{
	int members = Min(count, TEMPLATES_MAX);
	size_t size = 1024;
	size_t made = 0;
	MalsTemplate **sorted;
	Pattern *patterns;
	int32 *parent;

	sorted = palloc(count * sizeof(MalsTemplate *));
	for (int i = 0; i < count; i++)
	{
		templates[i].group_id = templates[i].fingerprint;
		sorted[i] = &templates[i];
	}
	qsort(sorted, count, sizeof(MalsTemplate *), compare_templates);

	patterns = palloc(size * sizeof(Pattern));
	parent = palloc(members * sizeof(int32));
	for (int i = 0; i < members; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (made + POSITIONS_MAX > size)
		{
			size *= 2;
			patterns = repalloc_huge(patterns, size * sizeof(Pattern));
		}
		/* a template may be given twice */
		if (i > 0 && sorted[i]->fingerprint == sorted[i - 1]->fingerprint)
			parent[i] = parent[i - 1];
		else
		{
			parent[i] = i;
			made += make_patterns(sorted[i], i, patterns + made);
		}
	}
	qsort(patterns, made, sizeof(Pattern), compare_patterns);
	for (size_t first = 0, next; first < made; first = next)
	{
		CHECK_FOR_INTERRUPTS();
		next = first + 1;
		while (next < made && patterns[next].hash == patterns[first].hash)
			next++;
		if (next - first > 1)
			join_pattern(sorted, patterns + first, next - first, parent);
	}
	for (int i = 0; i < members; i++)
		sorted[i]->group_id = sorted[find_root(parent, i)]->fingerprint;
	pfree(sorted);
	pfree(patterns);
	pfree(parent);
}
