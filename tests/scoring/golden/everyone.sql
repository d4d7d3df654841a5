WITH pairs AS (SELECT a.id AS account_id, %(as_of)s::date AS as_of
FROM scoring_account a
WHERE a.merged_into_id IS NULL AND (a.kind = 'group' OR a.kind <> 'visitor' AND (
    EXISTS (SELECT
FROM scoring_tile t
WHERE t.account_id = a.id AND t.signal_id = (SELECT id
FROM scoring_signal
WHERE digest = 'd8d35c71e0854d8cb2bd36cf1375bcc4434d5652e47fc554fee431c598f8d913'))
    OR EXISTS (SELECT
FROM scoring_productuser u
WHERE u.home_id = a.id AND u.merged_into_id IS NULL
        AND NOT EXISTS (SELECT
FROM scoring_tile t
WHERE t.user_id = u.id AND NOT t.inherited AND t.signal_id = (SELECT id
FROM scoring_signal
WHERE digest = 'd8d35c71e0854d8cb2bd36cf1375bcc4434d5652e47fc554fee431c598f8d913')))
    OR EXISTS (SELECT
FROM scoring_outcome o
WHERE o.account_id = a.id)))),
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
f0 AS (SELECT t.account_id, min(t.day) FILTER (WHERE t.day <= %(as_of)s::date) AS m0_0, max(t.day) FILTER (WHERE t.day <= %(as_of)s::date) AS m0_1, min(t.day) FILTER (WHERE t.day <= %(as_of)s::date) AS a0_0, max(t.day) FILTER (WHERE t.day <= %(as_of)s::date) AS z0_0, LEAST(min(t.day) FILTER (WHERE t.day > %(as_of)s::date)) AS n0
FROM scoring_tile t
WHERE true AND t.signal_id = %(p1)s::bigint AND NOT EXISTS (SELECT 1
FROM excluded_user x
WHERE x.user_id = t.user_id AND (x.starts_on IS NULL OR x.starts_on <= %(as_of)s::date) AND (x.ends_on IS NULL OR x.ends_on > %(as_of)s::date))
GROUP BY t.account_id),
f1 AS (SELECT t.account_id, coalesce(sum(t.count) FILTER (WHERE t.day > %(as_of)s::date - 7 AND t.day <= %(as_of)s::date),
0) AS m1_0, coalesce(sum(t.count) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date),
0) AS m1_1, count(DISTINCT t.user_id) FILTER (WHERE t.day > %(as_of)s::date - 14 AND t.day <= %(as_of)s::date AND u.known) AS m1_2, min(t.day) FILTER (WHERE t.day > %(as_of)s::date - 7 AND t.day <= %(as_of)s::date) AS a1_0, max(t.day) FILTER (WHERE t.day > %(as_of)s::date - 7 AND t.day <= %(as_of)s::date) AS z1_0, min(t.day) FILTER (WHERE t.day > %(as_of)s::date - 14 AND t.day <= %(as_of)s::date) AS a1_1, max(t.day) FILTER (WHERE t.day > %(as_of)s::date - 14 AND t.day <= %(as_of)s::date) AS z1_1, min(t.day) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date) AS a1_2, max(t.day) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date) AS z1_2, LEAST(min(t.day) FILTER (WHERE t.day > %(as_of)s::date),
min(t.day) FILTER (WHERE t.day > %(as_of)s::date - 7 AND t.day <= %(as_of)s::date) + 7, min(t.day) FILTER (WHERE t.day > %(as_of)s::date - 14 AND t.day <= %(as_of)s::date) + 14, min(t.day) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date) + 30) AS n1
FROM scoring_tile t
LEFT JOIN scoring_productuser u ON u.id = t.user_id
WHERE true AND t.signal_id = %(p2)s::bigint AND t.day > %(as_of)s::date - 30 AND NOT EXISTS (SELECT 1
FROM excluded_user x
WHERE x.user_id = t.user_id AND (x.starts_on IS NULL OR x.starts_on <= %(as_of)s::date) AND (x.ends_on IS NULL OR x.ends_on > %(as_of)s::date))
GROUP BY t.account_id),
f2 AS (SELECT t.account_id, (array_agg(t.value_last
ORDER BY t.value_last_at DESC, t.value_last_id COLLATE "C" DESC) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date AND t.value_last IS NOT NULL))[1] AS m2_0, (array_agg(t.limit_last
ORDER BY t.value_last_at DESC, t.value_last_id COLLATE "C" DESC) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date AND t.value_last IS NOT NULL))[1] AS l2_0, min(t.day) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date) AS a2_0, max(t.day) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date) AS z2_0, LEAST(min(t.day) FILTER (WHERE t.day > %(as_of)s::date),
min(t.day) FILTER (WHERE t.day > %(as_of)s::date - 30 AND t.day <= %(as_of)s::date) + 30) AS n2
FROM scoring_tile t
WHERE true AND t.signal_id = %(p3)s::bigint AND t.day > %(as_of)s::date - 30 AND NOT EXISTS (SELECT 1
FROM excluded_user x
WHERE x.user_id = t.user_id AND (x.starts_on IS NULL OR x.starts_on <= %(as_of)s::date) AND (x.ends_on IS NULL OR x.ends_on > %(as_of)s::date))
GROUP BY t.account_id),
t0 AS (SELECT DISTINCT ON (c.account_id) c.account_id, c.value, c.number, c.day
FROM scoring_traitchange c
WHERE true AND c.key = %(p4)s::text AND ((c.at) AT TIME ZONE 'UTC')::date <= %(as_of)s::date
ORDER BY c.account_id, c.precedence DESC, CASE WHEN c.precedence = 0 THEN c.at END, c.at DESC, c.message_id COLLATE "C" DESC, c.id DESC),
t1 AS (SELECT DISTINCT ON (c.account_id) c.account_id, c.value, c.number, c.day
FROM scoring_traitchange c
WHERE true AND c.key = %(p5)s::text AND ((c.at) AT TIME ZONE 'UTC')::date <= %(as_of)s::date
ORDER BY c.account_id, c.precedence DESC, CASE WHEN c.precedence = 0 THEN c.at END, c.at DESC, c.message_id COLLATE "C" DESC, c.id DESC),
t2 AS (SELECT DISTINCT ON (c.account_id) c.account_id, c.value, c.number, c.day
FROM scoring_traitchange c
WHERE true AND c.key = %(p6)s::text AND ((c.at) AT TIME ZONE 'UTC')::date <= %(as_of)s::date
ORDER BY c.account_id, c.precedence DESC, CASE WHEN c.precedence = 0 THEN c.at END, c.at DESC, c.message_id COLLATE "C" DESC, c.id DESC),
outcomes AS (SELECT o.account_id, min(((o.at) AT TIME ZONE 'UTC')::date) FILTER (WHERE ((o.at) AT TIME ZONE 'UTC')::date > %(as_of)s::date) AS n, min(((o.at) AT TIME ZONE 'UTC')::date) FILTER (WHERE o.kind = ANY(%(p7)s::text[]) AND ((o.at) AT TIME ZONE 'UTC')::date <= %(as_of)s::date) AS o0
FROM scoring_outcome o
WHERE true
GROUP BY o.account_id),
exclusions AS (SELECT x.account_id, min(x.why) AS why
FROM excluded_account x
WHERE true AND (x.starts_on IS NULL OR x.starts_on <= %(as_of)s::date) AND (x.ends_on IS NULL OR x.ends_on > %(as_of)s::date)
GROUP BY x.account_id),
traits_ahead AS (SELECT c.account_id, min(((c.at) AT TIME ZONE 'UTC')::date) AS n
FROM scoring_traitchange c
WHERE true AND c.key = ANY(%(p8)s::text[]) AND ((c.at) AT TIME ZONE 'UTC')::date > %(as_of)s::date
GROUP BY c.account_id) SELECT account_id, as_of, usage, fit, status, excluded_why AS why, CASE WHEN status = 'scored' THEN LEAST(CASE WHEN usage >= 2000 AND fit >= 0 THEN 0 END, CASE WHEN r5 THEN 0 END) END AS tier, CASE WHEN status = 'scored' THEN array_remove(ARRAY[CASE WHEN (usage >= 1000 AND fit >= 0) OR r5 THEN 0 END]::int[], NULL) ELSE ARRAY[]::int[] END AS held, ARRAY[r0, r1, r2, r3, r4, r5]::boolean[] AS met, ARRAY[q0, q1, q2, q3, 0, 0]::bigint[] AS raw, LEAST(NULL::date, o0) AS goal_on, sign_up, LEAST(ahead, CASE WHEN coalesce(m0_1, sign_up) + 21 > as_of THEN coalesce(m0_1, sign_up) + 21 END, CASE WHEN coalesce(m0_1, sign_up) + 22 > as_of THEN coalesce(m0_1, sign_up) + 22 END) AS recheck_on, jsonb_build_array(to_jsonb(o0),
to_jsonb(m1_2),
to_jsonb(ARRAY[m2_0, CASE tv2 #>> '{}' WHEN %(p19)s::text THEN %(p20)s::numeric WHEN %(p21)s::text THEN %(p22)s::numeric END]::numeric[]),
to_jsonb(tv1),
to_jsonb(coalesce(m0_1, sign_up)),
to_jsonb(m1_0),
to_jsonb(m1_1))::text AS observed, ARRAY[NULL, NULL, a1_1, z1_1, a2_0, z2_0, NULL, NULL, a0_0, z0_0, a1_0, z1_0, a1_2, z1_2]::date[]::text[] AS seen
FROM (SELECT s.*, (0 + GREATEST(0, LEAST(3000, 0 + q0 + q1 + q2) + (0)))::bigint AS usage, (0 + GREATEST(0, 0 + (0 + q3)))::bigint AS fit, CASE WHEN excluded_why IS NOT NULL THEN 'excluded' WHEN NOT inside THEN 'outside' WHEN false OR r4 THEN 'disqualified' ELSE 'scored' END AS status
FROM (SELECT s.*, CASE WHEN r0 THEN 2000::bigint ELSE 0 END AS q0, CASE WHEN r1 THEN LEAST(div(m1_1, %(p18)s::numeric) * 100, 500)::bigint ELSE 0 END AS q1, CASE WHEN r2 THEN 1000::bigint ELSE 0 END AS q2, CASE WHEN r3 THEN -500::bigint ELSE 0 END AS q3
FROM (SELECT s.*, NOT c0 AS inside, coalesce(c1, false) AS r0, coalesce(true AND div(m1_1, %(p17)s::numeric) >= 1, false) AS r1, coalesce(c2, false) AS r2, coalesce(c3, false) AS r3, coalesce(c4, false) AS r4, coalesce(c5, false) AS r5
FROM (SELECT s.*, coalesce(o0 IS NOT NULL, false) AS c0, coalesce(m1_2 >= %(p9)s::numeric, false) AS c1, coalesce((CASE tv2 #>> '{}' WHEN %(p10)s::text THEN %(p11)s::numeric WHEN %(p12)s::text THEN %(p13)s::numeric END > 0 AND m2_0 >= %(p14)s::numeric * CASE tv2 #>> '{}' WHEN %(p10)s::text THEN %(p11)s::numeric WHEN %(p12)s::text THEN %(p13)s::numeric END),
false) AS c2, coalesce(CASE WHEN jsonb_typeof(tv1) = 'number' THEN (tv1)::numeric < %(p15)s::numeric ELSE false END, false) AS c3, coalesce(as_of - coalesce(m0_1, sign_up) >= 21, false) AS c4, coalesce(m1_0 >= %(p16)s::numeric, false) AS c5
FROM (SELECT p.account_id, p.as_of, exclusions.why AS excluded_why, f0.m0_0, f0.m0_1, f0.a0_0, f0.z0_0, coalesce(f1.m1_0, 0) AS m1_0, coalesce(f1.m1_1, 0) AS m1_1, coalesce(f1.m1_2, 0) AS m1_2, f1.a1_0, f1.z1_0, f1.a1_1, f1.z1_1, f1.a1_2, f1.z1_2, f2.m2_0, f2.l2_0, f2.a2_0, f2.z2_0, t0.value AS tv0, t0.number AS tn0, t1.value AS tv1, t1.number AS tn1, t2.value AS tv2, t2.number AS tn2, outcomes.o0, LEAST(CASE WHEN t0.day <= p.as_of THEN t0.day END, f0.m0_0) AS sign_up, LEAST(f0.n0, f1.n1, f2.n2, outcomes.n, traits_ahead.n, CASE WHEN t0.day > p.as_of THEN t0.day END, (SELECT min(d)
FROM scoring_exclusion x, unnest(ARRAY[x.starts_on, x.ends_on]) AS d
WHERE d > p.as_of)) AS ahead
FROM pairs p
LEFT JOIN f0 ON f0.account_id = p.account_id
LEFT JOIN f1 ON f1.account_id = p.account_id
LEFT JOIN f2 ON f2.account_id = p.account_id
LEFT JOIN t0 ON t0.account_id = p.account_id
LEFT JOIN t1 ON t1.account_id = p.account_id
LEFT JOIN t2 ON t2.account_id = p.account_id
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
-- p5 = 'employees'
-- p6 = 'plan'
-- p7 = ['won']
-- p8 = ['created_at', 'employees', 'plan']
-- p9 = Decimal('3')
-- p10 = 'free'
-- p11 = Decimal('5')
-- p12 = 'pro'
-- p13 = Decimal('5E+1')
-- p14 = Decimal('0.8')
-- p15 = Decimal('5')
-- p16 = Decimal('9')
-- p17 = Decimal('2')
-- p18 = Decimal('2')
-- p19 = 'free'
-- p20 = Decimal('5')
-- p21 = 'pro'
-- p22 = Decimal('5E+1')
