/*
 * words.c
 *		The words that the rules of src/group know, and what each may stand for.
 *
 * The table is hashed on first use; a look-up ignores case and costs one pass
 * over the word.
 */
#include "group_private.h"

#define WORD_MAX 16
#define WORD_SLOTS 2048 /* a power of two, at least twice the number of words */

typedef struct WordList
{
	uint32 sets;
	const char *words; /* in lower case, between single spaces */
} WordList;

static const WordList word_lists[] = {
	{WORD_UNIT,
	 "s sec secs second seconds ms msec msecs millis millisecond milliseconds us usec "
	 "usecs microsecond microseconds \xc2\xb5s \xce\xbcs ns nanosecond nanoseconds m min "
	 "mins minute minutes h hr hrs hour hours d day days week weeks b byte bytes kb mb gb "
	 "tb pb kib mib gib tib k g kbit mbit gbit kbps mbps gbps b/s kb/s mb/s gb/s kib/s "
	 "mib/s gib/s hz khz mhz ghz"},
	{WORD_MONTH,
	 "jan feb mar apr may jun jul aug sep sept oct nov dec january february march april "
	 "june july august september october november december"},
	{WORD_WEEKDAY, "mon tue wed thu fri sat sun monday tuesday wednesday thursday friday saturday "
				   "sunday"},
	{WORD_ZONE,
	 "utc gmt pst pdt est edt cst cdt mst mdt cet cest eet eest wet west msk bst ist jst "
	 "kst sgt aest aedt am pm"},
	{WORD_TELLS, "status code type reason event state method level lvl severity kind phase outcome "
				 "category verb message msg error err errors exception detail details cause "
				 "description desc title"},
	{WORD_LITERAL, "true false null nil none undefined nan"},
	{WORD_COMMON,
	 "ipv4 ipv6 ip4 ip6 utf8 utf-8 utf16 utf-16 utf32 utf-32 utf8mb4 iso-8859-1 latin1 "
	 "sha1 sha-1 sha2 sha224 sha256 sha-256 sha384 sha-384 sha512 sha-512 sha3 md4 md5 "
	 "crc32 crc32c aes128 aes256 aes-128 aes-256 rc4 rsa2048 ed25519 x25519 x509 pkcs12 "
	 "tlsv1 sslv3 base16 base32 base64 http1 http2 http3 h2 h2c h3 oauth2 auth0 saml2 "
	 "socks4 socks5 s3 ec2 r53 k8s k3s x86 x64 x86_64 x86-64 amd64 arm64 armv7 aarch64 "
	 "i386 i486 i586 i686 win32 win64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 "
	 "float16 float32 float64 bfloat16 fp16 fp32 int4 i32 i64 u8 u32 u64 f32 f64 "
	 "ext2 ext3 ext4 fat32 mp3 mp4 h264 h265 es6 log4j slf4j neo4j python2 python3 "
	 "sqlite3 psycopg2 boto3 urllib3 pg8000 lz4 bzip2 p2p b2b b2c i18n l10n a11y 2d 3d "
	 "4xx 5xx 3xx 2xx rfc1918 raid0 raid1 raid5 raid6 level1 level2 level3"},
	{WORD_SUFFIX, "com org net io edu gov mil biz dev app local localdomain internal lan "
				  "intranet corp svc arpa uk de fr nl eu cn jp ru br au ca us kr py pyc pyx "
				  "ipynb js mjs cjs ts tsx jsx vue java kt kts scala jar go rs rb php pl pm c h "
				  "cc cpp cxx hpp hxx hh cs fs vb swift lua jl ex exs erl hs clj sh bash zsh "
				  "fish bat cmd ps1 sql proto graphql json jsonl ndjson json5 yaml yml toml xml "
				  "html htm css scss less md rst txt log csv tsv parquet avro orc arrow feather "
				  "npy npz pkl pt pth ckpt onnx safetensors gguf bin dat db sqlite gz tgz zip "
				  "tar bz2 xz zst 7z rar png jpg jpeg gif svg webp bmp ico pdf doc docx xls "
				  "xlsx ppt pptx mp3 mp4 wav avi mov mkv flac ogg conf cfg ini env properties "
				  "pid sock tmp temp bak swp so dll exe dylib lib ko whl egg deb rpm apk dmg "
				  "iso img pcap pem crt cer key pub cnf xsd wsdl patch diff tpl j2 tf"},
	{WORD_SQL, "select insert update delete where values"},
	{WORD_METHOD, "get post put delete patch head options connect trace"},
	{WORD_PLAIN,
	 "unknown name names is was were has had have does did do not no with without for "
	 "from in on at to and or of by id ids uid data level input error errors agent account "
	 "accounts request requests requested authentication authorization service session "
	 "sessions process mode space limit limits defined interface permission permissions "
	 "group groups access profile profiles role roles token tokens password message "
	 "messages prompt query cancelled canceled aborted quota feedback preference "
	 "preferences settings info information list table can cannot could may must should "
	 "will would already logged login logout connected disconnected exists must the a an "
	 "this that agents config configuration context action actions response responses "
	 "identity validation creation details approval confirmation review decision reply "
	 "attention intervention consent selection choice interaction turn re non pre post auto self "
	 "multi read write start "
	 "end up down out over under time well long short high low"},
	{WORD_BEFORE,
	 "in on for invalid illegal by of as from new unknown failed existing locked disabled "
	 "blocked deleted created removed added banned"},
	{WORD_HOLDER, "user namespace organization organisation tenant workspace"},
	{WORD_AFTER,
	 "logged has was is had joined left connected disconnected authenticated created deleted "
	 "updated signed registered does cannot not from"},
	{WORD_NAMED,
	 "organization organisation org project tenant workspace namespace bucket topic "
	 "cluster pod container deployment node host hostname model image branch volume secret "
	 "configmap queue agent service"},
	{WORD_TOWARD, "to at from on via tcp udp host server address upstream broker peer endpoint "
				  "proxy connecting listening"},
	{WORD_CODE, "error exit status response return http with"},
	{WORD_STATUS, "status code"},
	{WORD_PROCESS, "process pid task thread"},
};

/* A word as two integers: its first and its last bytes, in small letters. */
typedef struct WordKey
{
	uint64 first;
	uint64 last;
} WordKey;

typedef struct WordSlot
{
	WordKey key;
	uint32 len;
	uint32 sets; /* 0: free */
} WordSlot;

static WordSlot word_slots[WORD_SLOTS];
static bool word_slots_filled = false;

/* Makes the key of a word of 1 to WORD_MAX bytes. */
static inline WordKey
word_key(const unsigned char *word, int len)
{
	WordKey key;

	if (len >= 8)
	{
		memcpy(&key.first, word, 8);
		memcpy(&key.last, word + len - 8, 8);
	}
	else if (len >= 4)
	{
		uint32 first;
		uint32 last;

		memcpy(&first, word, 4);
		memcpy(&last, word + len - 4, 4);
		key.first = first;
		key.last = last;
	}
	else
	{
		key.first = word[0];
		key.last = (uint64) word[len / 2] << 8 | word[len - 1];
	}
	/* all bytes as if they were letters: no two words of the table differ in that bit only */
	key.first |= UINT64CONST(0x2020202020202020);
	key.last |= UINT64CONST(0x2020202020202020);
	return key;
}

/* Finds the slot of a word, or the free one where it belongs. */
static inline WordSlot *
word_slot(WordKey key, uint32 len)
{
	uint64 at = (key.first * UINT64CONST(0x9e3779b97f4a7c15)) ^
				(key.last * UINT64CONST(0xc2b2ae3d27d4eb4f));

	for (at ^= at >> 32;; at++)
	{
		WordSlot *slot = &word_slots[at & (WORD_SLOTS - 1)];

		if (slot->sets == 0 ||
			(slot->key.first == key.first && slot->key.last == key.last && slot->len == len))
			return slot;
	}
}

/* Fills the table from the lists. */
static void
fill_word_slots(void)
{
	for (int i = 0; i < (int) lengthof(word_lists); i++)
	{
		const char *word = word_lists[i].words;

		while (*word)
		{
			int len = strcspn(word, " ");
			WordKey key = word_key((const unsigned char *) word, len);
			WordSlot *slot = word_slot(key, len);

			Assert(len <= WORD_MAX);
			slot->key = key;
			slot->len = len;
			slot->sets |= word_lists[i].sets;
			word += len;
			if (*word)
				word++;
		}
	}
	word_slots_filled = true;
}

/* Returns what a word may stand for: a set of WORD_ bits. */
uint32
mals_group_word(const unsigned char *word, int len)
{
	if (len > WORD_MAX || len == 0)
		return 0;
	if (!word_slots_filled)
		fill_word_slots();
	return word_slot(word_key(word, len), len)->sets;
}

/* Returns what a key may stand for: of a compound, its last word counts. */
uint32
mals_group_key(const unsigned char *key, int len)
{
	int from = len;

	while (from > 0 && group_is_alpha(key[from - 1]))
	{
		from--;
		/* statusCode, but not STATUS */
		if (from > 0 && group_is_upper(key[from]) && group_is_lower(key[from - 1]))
			break;
	}
	return mals_group_word(key + from, len - from);
}
