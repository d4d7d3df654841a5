WITH pairs AS (SELECT DISTINCT account_id, user_id, %(as_of)s::date AS as_of
FROM scoring_tile
WHERE account_id = ANY(%(accounts)s::bigint[]) AND user_id IS NOT NULL),
excluded_user AS (
    SELECT i.user_id, x.starts_on, x.ends_on
   
FROM scoring_exclusion x JOIN scoring_identity i ON i.value = x.value
WHERE x.kind = 'user'
    UNION
    SELECT i.user_id, x.starts_on, x.ends_on
   
FROM scoring_exclusion x JOIN scoring_emaillink e ON e.email = lower(x.value)
    JOIN scoring_identity i ON i.id = e.identity_id
WHERE x.kind = 'email'
    UNION
    SELECT i.user_id, x.starts_on, x.ends_on
   
FROM scoring_exclusion x JOIN scoring_emaillink e ON e.domain = lower(x.value)
    JOIN scoring_identity i ON i.id = e.identity_id
WHERE x.kind = 'domain'),
excluded_account AS (
    SELECT coalesce(a.merged_into_id, a.id) AS account_id, x.why, x.starts_on, x.ends_on
   
FROM scoring_exclusion x JOIN scoring_account a ON a.external_id = x.value
WHERE x.kind = 'account'
    UNION
    SELECT coalesce(a.merged_into_id, a.id),
x.why, x.starts_on, x.ends_on
   
FROM scoring_exclusion x JOIN scoring_account a ON a.external_id = lower(x.value) AND a.kind = 'domain'
   
WHERE x.kind = 'domain'),
f0 AS (SELECT t.account_id, t.user_id, min(t.day) FILTER (WHERE t.day <= %(as_of)s::date) AS m0_0, min(t.day) FILTER (WHERE t.day <= %(as_of)s::date) AS a0_0, max(t.day) FILTER (WHERE t.day <= %(as_of)s::date) AS z0_0, LEAST(min(t.day) FILTER (WHERE t.day > %(as_of)s::date)) AS n0
FROM scoring_tile t
WHERE t.account_id = ANY(%(accounts)s::bigint[]) AND t.signal_id = %(p1)s::bigint AND NOT EXISTS (SELECT 1
FROM excluded_user x
WHERE x.user_id = t.user_id AND (x.starts_on IS NULL OR x.starts_on <= %(as_of)s::date) AND (x.ends_on IS NULL OR x.ends_on > %(as_of)s::date))
GROUP BY t.account_id, t.user_id),
f1 AS (SELECT t.account_id, t.user_id, coalesce(sum(t.count) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date),
0) AS m1_0, min(t.day) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date) AS a1_0, max(t.day) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date) AS z1_0, LEAST(min(t.day) FILTER (WHERE t.day > %(as_of)s::date),
min(t.day) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date) + 30) AS n1
FROM scoring_tile t
WHERE t.account_id = ANY(%(accounts)s::bigint[]) AND t.signal_id = %(p2)s::bigint AND t.day > %(as_of)s::date - 30 AND NOT EXISTS (SELECT 1
FROM excluded_user x
WHERE x.user_id = t.user_id AND (x.starts_on IS NULL OR x.starts_on <= %(as_of)s::date) AND (x.ends_on IS NULL OR x.ends_on > %(as_of)s::date))
GROUP BY t.account_id, t.user_id),
f2 AS (SELECT t.account_id, t.user_id, (array_agg(t.value_last
ORDER BY t.value_last_at DESC, t.value_last_id COLLATE "C" DESC) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date AND t.value_last IS NOT NULL))[1] AS m2_0, (array_agg(t.limit_last
ORDER BY t.value_last_at DESC, t.value_last_id COLLATE "C" DESC) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date AND t.value_last IS NOT NULL))[1] AS l2_0, min(t.day) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date) AS a2_0, max(t.day) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date) AS z2_0, LEAST(min(t.day) FILTER (WHERE t.day > %(as_of)s::date),
min(t.day) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date) + 30) AS n2
FROM scoring_tile t
WHERE t.account_id = ANY(%(accounts)s::bigint[]) AND t.signal_id = %(p3)s::bigint AND t.day > %(as_of)s::date - 30 AND NOT EXISTS (SELECT 1
FROM excluded_user x
WHERE x.user_id = t.user_id AND (x.starts_on IS NULL OR x.starts_on <= %(as_of)s::date) AND (x.ends_on IS NULL OR x.ends_on > %(as_of)s::date))
GROUP BY t.account_id, t.user_id),
t0 AS (SELECT DISTINCT ON (c.account_id) c.account_id, c.value, c.number, c.day
FROM scoring_traitchange c
WHERE c.account_id = ANY(%(accounts)s::bigint[]) AND c.key = %(p4)s::text AND ((c.at) AT TIME ZONE 'UTC')::date <= %(as_of)s::date
ORDER BY c.account_id, c.precedence DESC, CASE WHEN c.precedence = 0 THEN c.at END, c.at DESC, c.message_id COLLATE "C" DESC, c.id DESC),
t1 AS (SELECT DISTINCT ON (c.account_id) c.account_id, c.value, c.number, c.day
FROM scoring_traitchange c
WHERE c.account_id = ANY(%(accounts)s::bigint[]) AND c.key = %(p5)s::text AND ((c.at) AT TIME ZONE 'UTC')::date <= %(as_of)s::date
ORDER BY c.account_id, c.precedence DESC, CASE WHEN c.precedence = 0 THEN c.at END, c.at DESC, c.message_id COLLATE "C" DESC, c.id DESC),
outcomes AS (SELECT o.account_id, min(((o.at) AT TIME ZONE 'UTC')::date) FILTER (WHERE ((o.at) AT TIME ZONE 'UTC')::date > %(as_of)s::date) AS n, min(((o.at) AT TIME ZONE 'UTC')::date) FILTER (WHERE o.kind = ANY(%(p6)s::text[]) AND ((o.at) AT TIME ZONE 'UTC')::date <= %(as_of)s::date) AS o0
FROM scoring_outcome o
WHERE o.account_id = ANY(%(accounts)s::bigint[])
GROUP BY o.account_id),
exclusions AS (SELECT x.account_id, min(x.why) AS why
FROM excluded_account x
WHERE x.account_id = ANY(%(accounts)s::bigint[]) AND (x.starts_on IS NULL OR x.starts_on <= %(as_of)s::date) AND (x.ends_on IS NULL OR x.ends_on > %(as_of)s::date)
GROUP BY x.account_id),
traits_ahead AS (SELECT c.account_id, min(((c.at) AT TIME ZONE 'UTC')::date) AS n
FROM scoring_traitchange c
WHERE c.account_id = ANY(%(accounts)s::bigint[]) AND c.key = ANY(%(p7)s::text[]) AND ((c.at) AT TIME ZONE 'UTC')::date > %(as_of)s::date
GROUP BY c.account_id) SELECT account_id, user_id, as_of, usage, fit, status, excluded_why AS why, CASE WHEN status = 'scored' THEN LEAST(CASE WHEN usage >= 2000 AND fit >= 0 THEN 0 END) END AS tier, CASE WHEN status = 'scored' THEN array_remove(ARRAY[CASE WHEN (usage >= 1000 AND fit >= 0) THEN 0 END]::int[], NULL) ELSE ARRAY[]::int[] END AS held, ARRAY[r0, r1]::boolean[] AS met, ARRAY[q0, q1]::bigint[] AS raw, LEAST(NULL::date, o0) AS goal_on, sign_up, LEAST(ahead) AS recheck_on, jsonb_build_array(to_jsonb(ARRAY[m2_0, CASE tv1 #>> '{}' WHEN %(p15)s::text THEN %(p16)s::numeric WHEN %(p17)s::text THEN %(p18)s::numeric END]::numeric[]),
to_jsonb(m1_0))::text AS observed, ARRAY[a2_0, z2_0, a1_0, z1_0]::date[]::text[] AS seen
FROM (SELECT s.*, (0 + GREATEST(0, LEAST(3000, 0 + q0 + q1) + (0)))::bigint AS usage, (0 + GREATEST(0, 0 + (0)))::bigint AS fit, CASE WHEN excluded_why IS NOT NULL THEN 'excluded' WHEN NOT inside THEN 'outside' WHEN false THEN 'disqualified' ELSE 'scored' END AS status
FROM (SELECT s.*, CASE WHEN r0 THEN LEAST(div(m1_0, %(p14)s::numeric) * 100, 500)::bigint ELSE 0 END AS q0, CASE WHEN r1 THEN 1000::bigint ELSE 0 END AS q1
FROM (SELECT s.*, true AS inside, coalesce(true AND div(m1_0, %(p13)s::numeric) >= 1, false) AS r0, coalesce(c0, false) AS r1
FROM (SELECT s.*, coalesce((CASE tv1 #>> '{}' WHEN %(p8)s::text THEN %(p9)s::numeric WHEN %(p10)s::text THEN %(p11)s::numeric END > 0 AND m2_0 >= %(p12)s::numeric * CASE tv1 #>> '{}' WHEN %(p8)s::text THEN %(p9)s::numeric WHEN %(p10)s::text THEN %(p11)s::numeric END),
false) AS c0
FROM (SELECT p.account_id, p.user_id, p.as_of, exclusions.why AS excluded_why, f0.m0_0, f0.a0_0, f0.z0_0, coalesce(f1.m1_0, 0) AS m1_0, f1.a1_0, f1.z1_0, f2.m2_0, f2.l2_0, f2.a2_0, f2.z2_0, t0.value AS tv0, t0.number AS tn0, t1.value AS tv1, t1.number AS tn1, outcomes.o0, LEAST(CASE WHEN t0.day <= p.as_of THEN t0.day END, f0.m0_0) AS sign_up, LEAST(f0.n0, f1.n1, f2.n2, outcomes.n, traits_ahead.n, CASE WHEN t0.day > p.as_of THEN t0.day END, (SELECT min(d)
FROM scoring_exclusion x, unnest(ARRAY[x.starts_on, x.ends_on]) AS d
WHERE d > p.as_of)) AS ahead
FROM pairs p
LEFT JOIN f0 ON f0.account_id = p.account_id AND f0.user_id = p.user_id
LEFT JOIN f1 ON f1.account_id = p.account_id AND f1.user_id = p.user_id
LEFT JOIN f2 ON f2.account_id = p.account_id AND f2.user_id = p.user_id
LEFT JOIN t0 ON t0.account_id = p.account_id
LEFT JOIN t1 ON t1.account_id = p.account_id
LEFT JOIN outcomes ON outcomes.account_id = p.account_id
LEFT JOIN exclusions ON exclusions.account_id = p.account_id
LEFT JOIN traits_ahead ON traits_ahead.account_id = p.account_id
OFFSET 0) AS s
OFFSET 0) AS s
OFFSET 0) AS s
OFFSET 0) AS s
OFFSET 0) AS s
-- p1 = 1
-- p2 = 2
-- p3 = 3
-- p4 = 'created_at'
-- p5 = 'plan'
-- p6 = ['won']
-- p7 = ['created_at', 'plan']
-- p8 = 'free'
-- p9 = Decimal('5')
-- p10 = 'pro'
-- p11 = Decimal('5E+1')
-- p12 = Decimal('0.8')
-- p13 = Decimal('2')
-- p14 = Decimal('2')
-- p15 = 'free'
-- p16 = Decimal('5')
-- p17 = 'pro'
-- p18 = Decimal('5E+1')
