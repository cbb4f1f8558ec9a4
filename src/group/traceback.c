/*
 * traceback.c
 *		Stack traces in a message: exception types and frames instead of text.
 *
 * Frames that are known:
 *
 *	Python		File "/app/run.py", line 42, in step
 *	Java		at com.example.Job.run(Job.java:42)
 *	Node		at async step (/app/run.js:42:7)
 *	.NET		at Example.Job.Run() in /app/Job.cs:line 42
 *	Go			main.step(0xc000012345)
 *					/app/run.go:42 +0x1d
 *
 * A trace is written as its exception's type and its innermost frames, each as
 * function and base name of the file. Messages of exceptions, line numbers,
 * addresses and source lines are left out; frames that repeat (recursion) are
 * written once. The text before the first trace is a template like any other.
 */
#include "group_private.h"

/* Innermost frames of a trace that count. */
#define FRAMES_MAX 8
/* Bytes of a name that count. */
#define NAME_BYTES 128

typedef enum TraceStyle
{
	STYLE_NONE,
	STYLE_PYTHON, /* innermost frame last, type after the frames */
	STYLE_AT,     /* innermost frame first, type before the frames */
	STYLE_GO      /* innermost frame first, text before the frames */
} TraceStyle;

typedef struct Span
{
	int start;
	int len;
} Span;

typedef struct Frame
{
	Span function;
	Span file;
} Frame;

typedef struct Trace
{
	const unsigned char *s;
	int end;
	char *dst;
	int written;
	TraceStyle style; /* of the run of frames that is being read */
	Frame frame[FRAMES_MAX];
	int frames;       /* seen in the run, repeated ones once */
	bool found;       /* a trace has been written */
	Span region;      /* text since the last run of frames */
	int indent;       /* of the last frame */
	Span type_region; /* the region that holds the type of the run */
} Trace;

static const char python_header[] = "Traceback (most recent call last):";

/* Tells whether a text begins with a string. */
static inline bool
starts_with(const unsigned char *s, int len, const char *what)
{
	int n = strlen(what);

	return len >= n && memcmp(s, what, n) == 0;
}

/* Tells whether two spans are of the same bytes. */
static inline bool
same_span(const unsigned char *s, Span a, Span b)
{
	return a.len == b.len && memcmp(s + a.start, s + b.start, a.len) == 0;
}

/* Makes a name of what lies between two positions, clipped between characters. */
static Span
make_name(const unsigned char *s, int start, int stop)
{
	Span name = {start, stop - start};

	if (name.len > NAME_BYTES)
	{
		name.len = NAME_BYTES;
		while (name.len > 0 && IS_HIGHBIT_SET(s[start + name.len]))
			name.len--;
	}
	return name;
}

/* Cuts line and column numbers from the end of a place, and the folders from its start. */
static Span
base_name(const unsigned char *s, int start, int stop)
{
	for (;;)
	{
		int digits = stop;

		while (digits > start && group_is_digit(s[digits - 1]))
			digits--;
		if (digits < stop && digits > start && s[digits - 1] == ':')
			stop = digits - 1;
		else
			break;
	}
	for (int i = stop; i > start; i--)
	{
		if (s[i - 1] == '/' || s[i - 1] == '\\')
		{
			start = i;
			break;
		}
	}
	return make_name(s, start, stop);
}

/* Reads a frame of Python from a line. */
static bool
python_frame(const unsigned char *s, int start, int stop, Frame *frame)
{
	const unsigned char *quote;
	int at;

	if (!starts_with(s + start, stop - start, "File \""))
		return false;
	at = start + 6;
	quote = memchr(s + at, '"', stop - at);
	if (quote == NULL || !starts_with(quote + 1, s + stop - quote - 1, ", line "))
		return false;
	frame->file = base_name(s, at, quote - s);
	at = quote - s + 8;
	while (at < stop && group_is_digit(s[at]))
		at++;
	at = starts_with(s + at, stop - at, ", in ") ? at + 5 : stop;
	frame->function = make_name(s, at, stop);
	return true;
}

/* Reads a frame that starts with "at" from a line. */
static bool
at_frame(const unsigned char *s, int start, int stop, Frame *frame)
{
	int open = -1;
	int name;

	if (!starts_with(s + start, stop - start, "at "))
		return false;
	start += 3;
	if (starts_with(s + start, stop - start, "async "))
		start += 6;
	/* where the class came from: ~[core-1.2.jar:1.2] */
	if (stop > start && s[stop - 1] == ']')
	{
		int bracket = stop - 1;

		while (bracket > start && s[bracket] != ' ')
			bracket--;
		stop = bracket;
	}
	frame->file.len = 0;
	if (stop > start && s[stop - 1] == ')')
	{
		/* name(place), name (place) */
		for (int i = stop - 1; i > start && open < 0; i--)
		{
			if (s[i] == '(')
				open = i;
		}
		if (open < 0)
			return false;
		frame->file = base_name(s, open + 1, stop - 1);
		name = open;
	}
	else
	{
		/* name() in place:line N, or a place alone */
		for (int i = start; i + 4 < stop && open < 0; i++)
		{
			if (s[i] == ' ' && memcmp(s + i, " in ", 4) == 0)
				open = i;
		}
		if (open >= 0)
		{
			int last = stop;

			while (last > open && group_is_digit(s[last - 1]))
				last--;
			if (last > open + 6 && memcmp(s + last - 6, ":line ", 6) == 0)
				last -= 6;
			frame->file = base_name(s, open + 4, last);
			name = open;
		}
		else
		{
			if (stop == start || !group_is_digit(s[stop - 1]) ||
				memchr(s + start, ':', stop - start) == NULL ||
				(memchr(s + start, '/', stop - start) == NULL &&
				 memchr(s + start, '.', stop - start) == NULL))
				return false;
			frame->file = base_name(s, start, stop);
			name = start;
		}
	}
	while (name > start && s[name - 1] == ' ')
		name--;
	/* without the module of Java: java.base/ */
	for (int i = start; i + 1 < name; i++)
	{
		if (s[i] == '/')
		{
			if (group_is_alpha(s[i + 1]))
				start = i + 1;
			break;
		}
	}
	frame->function = make_name(s, start, name);
	return true;
}

/* Reads a frame of Go from the line of its place, and the line before. */
static bool
go_frame(const unsigned char *s, int start, int stop, Span before, Frame *frame)
{
	int place = start;
	int name = before.start;
	int end = before.start + before.len;

	if (s[start] != '/' && !(stop - start > 2 && s[start + 1] == ':'))
		return false;
	while (place < stop && s[place] != ' ')
		place++;
	frame->file = base_name(s, start, place);
	if (frame->file.len < 3 || memcmp(s + frame->file.start + frame->file.len - 3, ".go", 3) != 0)
		return false;
	if (starts_with(s + name, before.len, "created by "))
	{
		name += 11;
		for (int i = name; i < end; i++)
		{
			if (s[i] == ' ')
				end = i;
		}
	}
	else
	{
		/* without the arguments */
		for (int i = end; i > name; i--)
		{
			if (s[i - 1] == '(')
			{
				end = i - 1;
				break;
			}
		}
	}
	frame->function = make_name(s, name, end);
	return true;
}

/* Notes a frame: the innermost ones are kept. */
static void
add_frame(Trace *trace, TraceStyle style, const Frame *frame)
{
	trace->style = style;
	if (trace->frames > 0)
	{
		const Frame *last =
			&trace->frame[style == STYLE_PYTHON ? (trace->frames - 1) % FRAMES_MAX
												: Min(trace->frames, FRAMES_MAX) - 1];

		if (same_span(trace->s, last->function, frame->function) &&
			same_span(trace->s, last->file, frame->file))
			return;
	}
	if (style == STYLE_PYTHON)
		trace->frame[trace->frames % FRAMES_MAX] = *frame;
	else if (trace->frames < FRAMES_MAX)
		trace->frame[trace->frames] = *frame;
	trace->frames++;
}

/* Appends a string to what is written of the trace. */
static void
write_text(Trace *trace, const char *text)
{
	int len = strlen(text);

	memcpy(trace->dst + trace->written, text, len);
	trace->written += len;
}

/* Writes a name; what a compiler has numbered is written without the numbers. */
static void
write_name(Trace *trace, Span name)
{
	const unsigned char *s = trace->s + name.start;
	bool numbered = memchr(s, '$', name.len) != NULL;

	for (int i = 0; i < name.len; i++)
	{
		if (!(numbered && group_is_digit(s[i])))
			trace->dst[trace->written++] = s[i];
	}
}

/* Writes the frames of the run, innermost first. */
static void
write_frames(Trace *trace)
{
	int n = Min(trace->frames, FRAMES_MAX);

	for (int i = 0; i < n; i++)
	{
		int at = trace->style == STYLE_PYTHON ? (trace->frames - 1 - i) % FRAMES_MAX : i;
		const Frame *frame = &trace->frame[at];

		write_text(trace, i > 0 ? " < " : trace->written > 0 ? " at " : "at ");
		write_name(trace, frame->function);
		if (frame->file.len > 0)
		{
			write_text(trace, frame->function.len > 0 ? " (" : "(");
			write_name(trace, frame->file);
			write_text(trace, ")");
		}
	}
	trace->frames = 0;
	trace->found = true;
}

/* Writes a text as a template of its own. */
static void
write_template(Trace *trace, int start, int stop)
{
	if (trace->written > 0)
		trace->dst[trace->written++] = ' ';
	trace->written +=
		mals_group_template_text(trace->dst + trace->written, trace->s + start, stop - start);
	if (trace->written > 0 && trace->dst[trace->written - 1] == ' ')
		trace->written--;
}

/* Tells whether a byte may be part of the name of an exception or a function. */
static inline bool
is_name_byte(unsigned char c)
{
	return group_is_alnum(c) || c == '_' || c == '.' || c == '$' || c >= 0x80;
}

/* Finds the first name of an error in a region. */
static bool
find_error_name(const unsigned char *s, Span region, Span *name)
{
	int stop = region.start + region.len;
	int at = region.start;

	while (at < stop)
	{
		int start = at;

		while (at < stop && is_name_byte(s[at]))
			at++;
		if (at > start && (at == stop || s[at] == ':' || s[at] <= ' ') &&
			mals_group_error_name(s + start, at - start))
		{
			name->start = start;
			name->len = at - start;
			return true;
		}
		if (at == start)
			at++;
	}
	return false;
}

/* Writes a trace of which the type or text comes before the frames. */
static void
finish_leading(Trace *trace)
{
	Span region = trace->type_region;
	Span name;

	if (trace->style == STYLE_GO && trace->found)
	{
		/* the other goroutines say nothing about this one */
		trace->frames = 0;
		return;
	}
	if (trace->style == STYLE_AT && find_error_name(trace->s, region, &name))
	{
		if (!trace->found && name.start > region.start)
			write_template(trace, region.start, name.start);
		if (trace->written > 0)
			trace->dst[trace->written++] = ' ';
		write_name(trace, name);
	}
	else if (region.len > 0)
		write_template(trace, region.start, region.start + region.len);
	write_frames(trace);
}

/* Writes what is before a trace of Python: all but its header. */
static void
start_python(Trace *trace)
{
	int stop = trace->region.start + trace->region.len;
	int at = trace->region.start;

	if (trace->found)
		return;
	while (at < stop && !starts_with(trace->s + at, stop - at, python_header))
		at++;
	if (at > trace->region.start)
		write_template(trace, trace->region.start, at);
}

/* Writes a trace of Python, of which the type is in the line after the frames. */
static void
finish_python(Trace *trace, int start, int stop)
{
	int at = start;

	while (at < stop && is_name_byte(trace->s[at]))
		at++;
	if (at > start && (at == stop || trace->s[at] == ':'))
	{
		if (trace->written > 0)
			trace->dst[trace->written++] = ' ';
		write_name(trace, make_name(trace->s, start, at));
	}
	else
		write_template(trace, start, stop);
	write_frames(trace);
}

/* Tells whether a line other than the first is indented and starts as a frame does. */
static bool
may_have_frames(const unsigned char *text, int len)
{
	for (int i = 1; i + 4 < len; i++)
	{
		if (text[i - 1] != '\n')
			continue;
		while (i + 4 < len && (text[i] == ' ' || text[i] == '\t'))
			i++;
		if (text[i - 1] == '\n')
			continue;
		if (memcmp(text + i, "at ", 3) == 0 || memcmp(text + i, "File", 4) == 0 ||
			(text[i - 1] == '\t' && (text[i] == '/' || text[i + 1] == ':')))
			return true;
	}
	return false;
}

/*
 * Writes the template of a message of several lines that has stack traces in
 * it, and returns its length, or -1 if it has none.
 */
int
mals_group_traceback(char *dst, const unsigned char *text, int len)
{
	Trace trace = {.s = text, .end = len, .dst = dst};
	Span before = {0, 0};
	int next;

	if (!may_have_frames(text, len))
		return -1;
	for (int at = 0; at < len; at = next)
	{
		const unsigned char *newline = memchr(text + at, '\n', len - at);
		int stop = newline ? newline - text : len;
		int start = at;
		Frame frame;
		TraceStyle style = STYLE_NONE;

		next = stop + 1;
		if (stop == at && trace.frames == 0)
		{
			while (next < len && text[next] == '\n')
				next++;
			before.len = 0;
			trace.region.len = Min(next, len) - trace.region.start;
			continue;
		}
		if (stop > at && text[stop - 1] == '\r')
			stop--;
		while (start < stop && (text[start] == ' ' || text[start] == '\t'))
			start++;
		while (stop > start && (text[stop - 1] == ' ' || text[stop - 1] == '\t'))
			stop--;

		if (start > at && start < stop)
		{
			if (text[start] == 'F' && python_frame(text, start, stop, &frame))
				style = STYLE_PYTHON;
			else if (text[start] == 'a' && at_frame(text, start, stop, &frame))
				style = STYLE_AT;
			else if (text[at] == '\t' && before.len > 0 &&
					 go_frame(text, start, stop, before, &frame))
				style = STYLE_GO;
		}

		if (style != STYLE_NONE)
		{
			if (trace.frames > 0 && trace.style != style)
			{
				if (trace.style == STYLE_PYTHON)
					finish_python(&trace, start, start);
				else
					finish_leading(&trace);
			}
			if (trace.frames == 0)
			{
				if (style == STYLE_PYTHON)
					start_python(&trace);
				else if (style == STYLE_GO)
					trace.region.len = Max(before.start - trace.region.start, 0);
				trace.type_region = trace.region;
			}
			add_frame(&trace, style, &frame);
			trace.indent = start - at;
			trace.region.start = Min(next, len);
			trace.region.len = 0;
		}
		else if (trace.frames > 0 && start < stop)
		{
			/* a line between frames, or the end of them */
			if (trace.style == STYLE_PYTHON)
			{
				if (start - at < trace.indent)
				{
					finish_python(&trace, start, stop);
					trace.region.start = Min(next, len);
				}
			}
			else if (trace.style == STYLE_AT && start == at)
				finish_leading(&trace);
			trace.region.len = Min(next, len) - trace.region.start;
		}
		else
		{
			if (trace.frames > 0 && trace.style == STYLE_GO)
				finish_leading(&trace);
			trace.region.len = Min(next, len) - trace.region.start;
		}
		before.start = start;
		before.len = stop - start;
	}
	if (trace.frames > 0)
	{
		if (trace.style == STYLE_PYTHON)
			write_frames(&trace);
		else
			finish_leading(&trace);
	}
	return trace.found ? trace.written : -1;
}
