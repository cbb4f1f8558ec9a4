/*
 * vendors.c
 *		The keys and tokens that vendors give out, as a table.
 *
 * A pattern is a prefix and the bytes that follow it. A prefix of three bytes or
 * more that no word begins with, and a least length, keep look-alikes out; where
 * the vendor says "exactly 36" the table asks for fewer, since logs cut. Those
 * that stand first win: sk-ant- before sk-.
 *
 * Sources: "gitleaks" is config/gitleaks.toml of github.com/gitleaks/gitleaks,
 * "trufflehog" pkg/detectors of github.com/trufflesecurity/trufflehog, in the
 * state of 2026; others are the vendors' own pages. Formats are facts; no code
 * of these projects is in here.
 */
#include "secret.h"

#define HEXADECIMAL C_HEXADECIMAL
#define HEX_DASH (C_HEXADECIMAL | C_DASH)
#define ALNUM C_ALNUM
#define UPPER (C_DIGIT | C_UP)
#define WORD C_WORD
#define TOKEN C_TOKEN
#define DOTTED C_DOTTED
#define BASE64 (C_ALNUM | C_BASE64)
#define PATH (C_DOTTED | C_BASE64)

const MalsVendor mals_vendors[] = {
	/* language models and what agents use beside them */
	{"anthropic", "sk-ant-", TOKEN, 10, 0, V_MIXED, "gitleaks: anthropic-api-key"},
	{"openai", "sk-proj-", TOKEN, 12, 0, V_MIXED, "gitleaks: openai-api-key"},
	{"openai", "sk-svcacct-", TOKEN, 12, 0, V_MIXED, "gitleaks: openai-api-key"},
	{"openai", "sk-service-", TOKEN, 12, 0, V_MIXED, "trufflehog: openai"},
	{"openai", "sk-None-", TOKEN, 12, 0, V_MIXED, "trufflehog: openai"},
	{"openai", "sk-admin-", TOKEN, 12, 0, V_MIXED, "gitleaks: openai-api-key"},
	{"openrouter", "sk-or-", TOKEN, 20, 0, V_MIXED, "trufflehog: openrouter"},
	{"langfuse", "sk-lf-", HEX_DASH, 20, 0, 0, "trufflehog: langfuse"},
	{"openai", "sk-", ALNUM, 20, 0, 0, "trufflehog: openai, deepseek"},
	{"cerebras", "csk-", ALNUM, 20, 0, V_MIXED, "inference-docs.cerebras.ai"},
	{"e2b", "e2b_", HEXADECIMAL, 32, 0, 0, "e2b.dev/docs"},
	{"elevenlabs", "sk_", HEXADECIMAL, 40, 0, 0, "trufflehog: elevenlabs"},
	{"firecrawl", "fc-", HEXADECIMAL, 32, 32, 0, "docs.firecrawl.dev"},
	{"fireworks", "fw_", ALNUM, 20, 0, V_MIXED, "docs.fireworks.ai"},
	{"groq", "gsk_", ALNUM, 20, 0, V_MIXED, "trufflehog: groq"},
	{"huggingface", "hf_", ALNUM, 20, 0, V_MIXED, "trufflehog: huggingface"},
	{"huggingface", "api_org_", ALNUM, 20, 0, V_MIXED, "trufflehog: huggingface"},
	{"jina", "jina_", WORD, 30, 0, V_MIXED, "jina.ai/embeddings"},
	{"langsmith", "lsv2_pt_", WORD, 20, 0, 0, "trufflehog: langsmith"},
	{"langsmith", "lsv2_sk_", WORD, 20, 0, 0, "trufflehog: langsmith"},
	{"nvidia", "nvapi-", TOKEN, 20, 0, V_MIXED, "trufflehog: nvapi"},
	{"perplexity", "pplx-", ALNUM, 20, 0, V_MIXED, "gitleaks: perplexity-api-key"},
	{"pinecone", "pcsk_", WORD, 20, 0, V_MIXED, "trufflehog: pinecone"},
	{"replicate", "r8_", TOKEN, 20, 0, V_MIXED, "trufflehog: replicate"},
	{"tavily", "tvly-", TOKEN, 16, 0, V_MIXED, "docs.tavily.com"},
	{"together", "tgp_v1_", TOKEN, 20, 0, V_MIXED, "docs.together.ai"},
	{"xai", "xai-", WORD, 20, 0, V_MIXED, "trufflehog: xai"},

	/* clouds and hosting */
	{"aws", "AKIA", UPPER, 16, 16, 0, "gitleaks: aws-access-token"},
	{"aws", "ASIA", UPPER, 16, 16, 0, "gitleaks: aws-access-token"},
	{"aws", "ABIA", UPPER, 16, 16, 0, "gitleaks: aws-access-token"},
	{"aws", "ACCA", UPPER, 16, 16, 0, "gitleaks: aws-access-token"},
	{"aws", "ABSK", BASE64, 60, 0, V_MIXED, "gitleaks: aws-amazon-bedrock-api-key-long-lived"},
	{"aws", "bedrock-api-key-", BASE64, 20, 0, V_MIXED,
	 "gitleaks: aws-amazon-bedrock-api-key-short-lived"},
	{"alibaba", "LTAI", ALNUM, 12, 24, V_MIXED, "gitleaks: alibaba-access-key-id"},
	{"cloudflare", "cfk_", ALNUM, 40, 0, 0, "developers.cloudflare.com: token formats"},
	{"cloudflare", "cfut_", ALNUM, 40, 0, 0, "developers.cloudflare.com: token formats"},
	{"cloudflare", "cfat_", ALNUM, 40, 0, 0, "developers.cloudflare.com: token formats"},
	{"cloudflare", "v1.0-", HEX_DASH, 100, 0, 0, "gitleaks: cloudflare-origin-ca-key"},
	{"digitalocean", "dop_v1_", HEXADECIMAL, 40, 0, 0, "gitleaks: digitalocean-pat"},
	{"digitalocean", "doo_v1_", HEXADECIMAL, 40, 0, 0, "gitleaks: digitalocean-access-token"},
	{"digitalocean", "dor_v1_", HEXADECIMAL, 40, 0, 0, "gitleaks: digitalocean-refresh-token"},
	{"fly", "fo1_", TOKEN, 40, 0, 0, "gitleaks: flyio-access-token"},
	{"fly", "fm1a_", BASE64, 60, 0, 0, "gitleaks: flyio-access-token"},
	{"fly", "fm1r_", BASE64, 60, 0, 0, "gitleaks: flyio-access-token"},
	{"fly", "fm2_", BASE64, 60, 0, 0, "gitleaks: flyio-access-token"},
	{"google", "AIza", TOKEN, 30, 0, 0, "gitleaks: gcp-api-key"},
	{"google", "ya29.", DOTTED, 20, 0, V_MIXED, "cloud.google.com: OAuth 2.0 access tokens"},
	{"google", "GOCSPX-", TOKEN, 20, 0, 0, "trufflehog: googleoauth2"},
	{"google", "1//0", TOKEN, 30, 0, V_MIXED, "cloud.google.com: OAuth 2.0 refresh tokens"},
	{"heroku", "HRKU-", TOKEN, 36, 0, 0, "gitleaks: heroku-api-key-v2"},
	{"netlify", "nfp_", ALNUM, 30, 0, 0, "docs.netlify.com"},
	{"openshift", "sha256~", TOKEN, 40, 0, V_MIXED, "gitleaks: openshift-user-token"},
	{"planetscale", "pscale_tkn_", DOTTED, 20, 0, 0, "gitleaks: planetscale-api-token"},
	{"planetscale", "pscale_oauth_", DOTTED, 20, 0, 0, "gitleaks: planetscale-oauth-token"},
	{"planetscale", "pscale_pw_", DOTTED, 20, 0, 0, "gitleaks: planetscale-password"},
	{"scalingo", "tk-us-", TOKEN, 40, 0, V_MIXED, "gitleaks: scalingo-api-token"},
	{"supabase", "sbp_", HEXADECIMAL, 30, 0, 0, "trufflehog: supabasetoken"},
	{"supabase", "sb_secret_", TOKEN, 16, 0, V_MIXED, "supabase.com/docs: API keys"},
	{"tailscale", "tskey-", TOKEN, 16, 0, V_MIXED, "trufflehog: tailscale"},
	{"vercel", "vcp_", TOKEN, 20, 0, V_MIXED, "vercel.com/changelog: new token formats"},
	{"vercel", "vci_", TOKEN, 20, 0, V_MIXED, "vercel.com/changelog: new token formats"},
	{"vercel", "vca_", TOKEN, 20, 0, V_MIXED, "vercel.com/changelog: new token formats"},
	{"vercel", "vcr_", TOKEN, 20, 0, V_MIXED, "vercel.com/changelog: new token formats"},
	{"vercel", "vck_", TOKEN, 20, 0, V_MIXED, "vercel.com/changelog: new token formats"},

	/* code, packages, builds */
	{"github", "ghp_", WORD, 20, 0, 0, "gitleaks: github-pat"},
	{"github", "gho_", WORD, 20, 0, 0, "gitleaks: github-oauth"},
	{"github", "ghu_", WORD, 20, 0, 0, "gitleaks: github-app-token"},
	{"github", "ghs_", WORD, 20, 0, 0, "gitleaks: github-app-token"},
	{"github", "ghr_", WORD, 20, 0, 0, "gitleaks: github-refresh-token"},
	{"github", "github_pat_", WORD, 20, 0, 0, "gitleaks: github-fine-grained-pat"},
	{"gitlab", "glpat-", DOTTED, 16, 0, 0, "gitleaks: gitlab-pat"},
	{"gitlab", "glcbt-", DOTTED, 16, 0, 0, "gitleaks: gitlab-cicd-job-token"},
	{"gitlab", "gldt-", DOTTED, 16, 0, 0, "gitleaks: gitlab-deploy-token"},
	{"gitlab", "glffct-", DOTTED, 16, 0, 0, "gitleaks: gitlab-feature-flag-client-token"},
	{"gitlab", "glft-", DOTTED, 16, 0, 0, "gitleaks: gitlab-feed-token"},
	{"gitlab", "glimt-", DOTTED, 16, 0, 0, "gitleaks: gitlab-incoming-mail-token"},
	{"gitlab", "glagent-", DOTTED, 16, 0, V_MIXED, "gitleaks: gitlab-kubernetes-agent-token"},
	{"gitlab", "gloas-", DOTTED, 16, 0, 0, "gitleaks: gitlab-oauth-app-secret"},
	{"gitlab", "glptt-", DOTTED, 16, 0, 0, "gitleaks: gitlab-ptt"},
	{"gitlab", "glrt-", DOTTED, 16, 0, 0, "gitleaks: gitlab-runner-authentication-token"},
	{"gitlab", "glsoat-", DOTTED, 16, 0, 0, "gitleaks: gitlab-scim-token"},
	{"gitlab", "GR1348941", TOKEN, 16, 0, 0, "gitleaks: gitlab-rrt"},
	{"artifactory", "AKCp", ALNUM, 60, 0, 0, "gitleaks: artifactory-api-key"},
	{"artifactory", "cmVmd", ALNUM, 59, 0, V_MIXED, "gitleaks: artifactory-reference-token"},
	{"bitbucket", "ATBB", TOKEN, 20, 0, V_MIXED, "trufflehog: bitbucketapppassword"},
	{"buildkite", "bkua_", ALNUM, 30, 0, 0, "trufflehog: buildkite"},
	{"circleci", "CCIPAT_", WORD, 40, 0, 0, "trufflehog: circleci"},
	{"clojars", "CLOJARS_", ALNUM, 50, 0, 0, "gitleaks: clojars-api-token"},
	{"docker", "dckr_pat_", TOKEN, 20, 0, 0, "trufflehog: dockerhub"},
	{"docker", "dckr_oat_", TOKEN, 20, 0, 0, "trufflehog: dockerhub"},
	{"npm", "npm_", ALNUM, 30, 0, 0, "gitleaks: npm-access-token"},
	{"prefect", "pnu_", ALNUM, 30, 0, 0, "gitleaks: prefect-api-token"},
	{"pulumi", "pul-", HEXADECIMAL, 40, 0, 0, "gitleaks: pulumi-api-token"},
	{"pypi", "pypi-Ag", TOKEN, 20, 0, V_MIXED, "gitleaks: pypi-upload-token"},
	{"rubygems", "rubygems_", HEXADECIMAL, 40, 0, 0, "gitleaks: rubygems-api-token"},
	{"sentry", "sntrys_", PATH, 40, 0, 0, "gitleaks: sentry-org-token"},
	{"sentry", "sntryu_", HEXADECIMAL, 40, 0, 0, "gitleaks: sentry-user-token"},
	{"sourcegraph", "sgp_", WORD, 40, 0, 0, "gitleaks: sourcegraph-access-token"},

	/* secrets kept elsewhere */
	{"1password", "ops_eyJ", BASE64, 60, 0, 0, "gitleaks: 1password-service-account-token"},
	{"age", "AGE-SECRET-KEY-1", UPPER, 40, 0, 0, "gitleaks: age-secret-key"},
	{"doppler", "dp.pt.", ALNUM, 30, 0, 0, "gitleaks: doppler-api-token"},
	{"doppler", "dp.st.", DOTTED, 30, 0, V_MIXED, "docs.doppler.com: token formats"},
	{"doppler", "dp.ct.", ALNUM, 30, 0, 0, "docs.doppler.com: token formats"},
	{"doppler", "dp.sa.", ALNUM, 30, 0, 0, "docs.doppler.com: token formats"},
	{"doppler", "dp.scim.", ALNUM, 30, 0, 0, "docs.doppler.com: token formats"},
	{"doppler", "dp.audit.", ALNUM, 30, 0, 0, "docs.doppler.com: token formats"},
	{"vault", "hvs.", TOKEN, 20, 0, V_MIXED, "gitleaks: vault-service-token"},
	{"vault", "hvb.", TOKEN, 20, 0, V_MIXED, "gitleaks: vault-batch-token"},
	{"vault", "hvr.", TOKEN, 20, 0, V_MIXED, "developer.hashicorp.com: vault tokens"},

	/* messages and mail; the address of a webhook is its password */
	{"slack", "xoxb-", TOKEN, 10, 0, 0, "gitleaks: slack-bot-token"},
	{"slack", "xoxp-", TOKEN, 10, 0, 0, "gitleaks: slack-user-token"},
	{"slack", "xoxa-", TOKEN, 10, 0, 0, "gitleaks: slack-legacy-workspace-token"},
	{"slack", "xoxr-", TOKEN, 10, 0, 0, "gitleaks: slack-legacy-workspace-token"},
	{"slack", "xoxs-", HEX_DASH, 10, 0, 0, "gitleaks: slack-legacy-token"},
	{"slack", "xoxo-", HEX_DASH, 10, 0, 0, "gitleaks: slack-legacy-token"},
	{"slack", "xoxc-", TOKEN, 10, 0, 0, "trufflehog: slack"},
	{"slack", "xoxd-", TOKEN | C_TILDE, 10, 0, 0, "trufflehog: slack"},
	{"slack", "xoxe-", TOKEN, 10, 0, 0, "gitleaks: slack-config-refresh-token"},
	{"slack", "xoxe.xox", TOKEN, 10, 0, 0, "gitleaks: slack-config-access-token"},
	{"slack", "xapp-", TOKEN, 10, 0, V_MIXED, "gitleaks: slack-app-token"},
	{"slack", "hooks.slack.com/services/", PATH, 20, 0, V_KEEP, "gitleaks: slack-webhook-url"},
	{"slack", "hooks.slack.com/workflows/", PATH, 20, 0, V_KEEP, "gitleaks: slack-webhook-url"},
	{"slack", "hooks.slack.com/triggers/", PATH, 20, 0, V_KEEP, "gitleaks: slack-webhook-url"},
	{"discord", "discord.com/api/webhooks/", PATH, 20, 0, V_KEEP, "trufflehog: discordwebhook"},
	{"discord", "discordapp.com/api/webhooks/", PATH, 20, 0, V_KEEP, "trufflehog: discordwebhook"},
	{"teams", "webhook.office.com/webhookb2/", PATH, 20, 0, V_KEEP,
	 "gitleaks: microsoft-teams-webhook"},
	{"brevo", "xkeysib-", TOKEN, 40, 0, 0, "gitleaks: sendinblue-api-token"},
	{"resend", "re_", WORD, 24, 0, V_STRONG, "resend.com/docs"},
	{"sendgrid", "SG.", DOTTED, 40, 0, V_MIXED, "gitleaks: sendgrid-api-token"},
	{"twilio", "SK", HEXADECIMAL, 32, 32, 0, "gitleaks: twilio-api-key"},

	/* money */
	{"stripe", "sk_live_", ALNUM, 10, 0, 0, "gitleaks: stripe-access-token"},
	{"stripe", "sk_test_", ALNUM, 10, 0, 0, "gitleaks: stripe-access-token"},
	{"stripe", "sk_prod_", ALNUM, 10, 0, 0, "gitleaks: stripe-access-token"},
	{"stripe", "rk_live_", ALNUM, 10, 0, 0, "gitleaks: stripe-access-token"},
	{"stripe", "rk_test_", ALNUM, 10, 0, 0, "gitleaks: stripe-access-token"},
	{"stripe", "rk_prod_", ALNUM, 10, 0, 0, "gitleaks: stripe-access-token"},
	{"stripe", "whsec_", BASE64, 16, 0, 0, "docs.stripe.com/webhooks"},
	{"duffel", "duffel_live_", TOKEN, 30, 0, 0, "gitleaks: duffel-api-token"},
	{"duffel", "duffel_test_", TOKEN, 30, 0, 0, "gitleaks: duffel-api-token"},
	{"easypost", "EZAK", ALNUM, 54, 0, 0, "gitleaks: easypost-api-token"},
	{"easypost", "EZTK", ALNUM, 54, 0, 0, "gitleaks: easypost-test-api-token"},
	{"flutterwave", "FLWSECK", TOKEN, 12, 0, V_MIXED, "gitleaks: flutterwave-secret-key"},
	{"plaid", "access-production-", HEX_DASH, 30, 0, 0, "trufflehog: plaidkey"},
	{"plaid", "access-sandbox-", HEX_DASH, 30, 0, 0, "trufflehog: plaidkey"},
	{"shippo", "shippo_live_", HEXADECIMAL, 30, 0, 0, "gitleaks: shippo-api-token"},
	{"shippo", "shippo_test_", HEXADECIMAL, 30, 0, 0, "gitleaks: shippo-api-token"},
	{"shopify", "shpat_", ALNUM, 20, 0, 0, "gitleaks: shopify-access-token"},
	{"shopify", "shpca_", ALNUM, 20, 0, 0, "gitleaks: shopify-custom-access-token"},
	{"shopify", "shppa_", ALNUM, 20, 0, 0, "gitleaks: shopify-private-app-access-token"},
	{"shopify", "shpss_", ALNUM, 20, 0, 0, "gitleaks: shopify-shared-secret"},
	{"square", "sq0atp-", TOKEN, 20, 0, 0, "gitleaks: square-access-token"},
	{"square", "sq0csp-", TOKEN, 20, 0, 0, "trufflehog: square"},

	/* work and data */
	{"adobe", "p8e-", ALNUM, 32, 0, 0, "gitleaks: adobe-client-secret"},
	{"airtable", "pat", ALNUM | C_DOT, 79, 0, V_MIXED, "gitleaks: airtable-personnal-access-token"},
	{"atlassian", "ATATT3", TOKEN | C_BASE64, 40, 0, V_MIXED, "gitleaks: atlassian-api-token"},
	{"atlassian", "ATCTT3", TOKEN | C_BASE64, 40, 0, V_MIXED, "trufflehog: atlassian"},
	{"contentful", "CFPAT-", TOKEN, 40, 0, 0, "trufflehog: contentfulpersonalaccesstoken"},
	{"databricks", "dapi", HEX_DASH, 32, 0, 0, "gitleaks: databricks-api-token"},
	{"dropbox", "sl.", TOKEN, 100, 0, V_MIXED, "trufflehog: dropbox"},
	{"dynatrace", "dt0c01.", ALNUM | C_DOT, 60, 0, 0, "gitleaks: dynatrace-api-token"},
	{"figma", "figd_", TOKEN, 20, 0, 0, "developers.figma.com: personal access tokens"},
	{"frameio", "fio-u-", TOKEN, 50, 0, 0, "gitleaks: frameio-api-token"},
	{"grafana", "glc_", BASE64, 32, 0, 0, "gitleaks: grafana-cloud-api-token"},
	{"grafana", "glsa_", WORD, 32, 0, 0, "gitleaks: grafana-service-account-token"},
	{"grafana", "eyJrIjoi", ALNUM, 60, 0, 0, "gitleaks: grafana-api-key"},
	{"hubspot", "pat-na1-", HEX_DASH, 36, 0, 0, "trufflehog: hubspot_apikey"},
	{"hubspot", "pat-eu1-", HEX_DASH, 36, 0, 0, "trufflehog: hubspot_apikey"},
	{"linear", "lin_api_", ALNUM, 20, 0, 0, "gitleaks: linear-api-key"},
	{"linear", "lin_oauth_", ALNUM, 20, 0, 0, "linear.app/developers"},
	{"mapbox", "sk.eyJ", DOTTED, 40, 0, 0, "trufflehog: mapbox"},
	{"newrelic", "NRAK-", ALNUM, 20, 0, V_MIXED, "trufflehog: newrelicuserkey"},
	{"newrelic", "NRII-", TOKEN, 25, 0, 0, "trufflehog: newrelicinsightsinsertkey"},
	{"notion", "ntn_", ALNUM, 40, 0, 0, "gitleaks: notion-api-token"},
	{"notion", "secret_", ALNUM, 40, 0, V_MIXED, "trufflehog: notion"},
	{"posthog", "phx_", WORD, 40, 0, V_MIXED, "trufflehog: posthog"},
	{"postman", "PMAK-", HEX_DASH, 40, 0, 0, "gitleaks: postman-api-token"},
	{"readme", "rdme_", ALNUM, 60, 0, 0, "gitleaks: readme-api-token"},
	{"typeform", "tfp_", DOTTED, 40, 0, V_MIXED, "gitleaks: typeform-api-token"},
};

const int mals_nvendors = lengthof(mals_vendors);

/* Tells whether bytes are as mixed as a key's are, or too long for a word. */
static bool
is_mixed(const char *s, int start, int end, int flags)
{
	unsigned seen = 0;
	int run = 0;

	for (int i = start; i < end; i++)
	{
		seen |= class_of(s[i]);
		run = (class_of(s[i]) & C_ALNUM) ? run + 1 : 0;
		if (run == 20)
			seen |= C_SPACE;
	}
	if (flags & V_STRONG)
		return (seen & C_DIGIT) && (seen & C_UP) && (seen & (C_HEX | C_LOW));
	return (seen & (C_DIGIT | C_UP | C_SPACE)) != 0;
}

/* Tells whether a vendor's key stands at a place, where a token may begin. */
bool
mals_vendor_match(const MalsVendor *vendor, const char *s, int len, int pos, MalsSecret *secret)
{
	int prefix = strlen(vendor->prefix);
	int body = pos + prefix;
	int end;

	if (len - pos < prefix + vendor->min || memcmp(s + pos, vendor->prefix, prefix) != 0)
		return false;
	if (run_end(s, body, body + vendor->min, vendor->alphabet) < body + vendor->min)
		return false;
	if ((vendor->flags & (V_MIXED | V_STRONG)) &&
		!is_mixed(s, body, run_end(s, body, Min(len, body + 64), vendor->alphabet), vendor->flags))
		return false;
	end = run_end(s, body, vendor->max > 0 ? Min(len, body + vendor->max + 1) : len,
				  vendor->alphabet);
	if (vendor->max > 0 && (end - body > vendor->max || (end < len && (class_of(s[end]) & C_WORD))))
		return false;
	while (s[end - 1] == '.')
		end--;
	secret->start = (vendor->flags & V_KEEP) ? body : pos;
	secret->end = end;
	secret->kind = vendor->kind;
	return end - body >= vendor->min;
}
